"""Examines an algorithm on tiny tasks: what it promises, measured."""
