"""Datasets of other libraries, read as they are."""
