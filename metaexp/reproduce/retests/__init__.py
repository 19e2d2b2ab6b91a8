"""Tests the weights of many runs again: what is left, who measures what, and how long it still takes."""
