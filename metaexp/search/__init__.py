"""Searches for hyper-parameters: a sampler proposes them, and validation tasks judge them."""
