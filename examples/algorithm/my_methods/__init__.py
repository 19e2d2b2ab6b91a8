"""My methods."""
