"""Icons and emoji of many designers, from published sets: classes are concepts, drawers are designers."""
