"""Test episodes that a file lists, in place of drawn ones."""
