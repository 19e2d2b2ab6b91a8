"""My networks."""
