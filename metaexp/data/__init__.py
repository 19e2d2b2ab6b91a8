"""Datasets and the tasks drawn from them: (seed, split, index) -> Episode."""
