"""Finds the classes that a configuration names in source, checks their arguments, and makes the objects."""
