"""Prepared data, kept on disk and in memory, so that they are read once."""
