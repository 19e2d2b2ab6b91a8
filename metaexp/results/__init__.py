"""The record of a run and what is read from its folder."""
