"""Runs compared: paired statistics from records, tables, plots and one page. Without torch."""
