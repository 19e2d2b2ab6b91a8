"""Curves, episodes and fits of a run, drawn."""
