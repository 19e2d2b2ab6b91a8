"""Runs many frozen jobs by one command. decide.py says what is done and what is left."""
