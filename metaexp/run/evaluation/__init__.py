"""Validates and tests: measures episodes, chooses the weights to test, and tests finished runs again."""
