"""YAML and overrides composed, checked as a whole, turned into Settings."""
