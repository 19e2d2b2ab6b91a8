"""Composes YAML and overrides, checks them as a whole, and turns them into Settings."""
