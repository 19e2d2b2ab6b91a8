"""Overrides and options of a command line, each checked before anything is composed."""
