"""Committed records as the pages of docs/results."""
