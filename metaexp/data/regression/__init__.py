"""Families of functions, and the tasks drawn from them."""
