"""Runs in rows, paired statistics, tables, figures and the page."""
