"""My data."""
