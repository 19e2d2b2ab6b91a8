"""Figures of a run: its curves, adapted episodes and fits."""
