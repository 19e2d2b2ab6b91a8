"""New examples: read as the run's dataset reads its own, named by the adapted learner, with calibrated sets."""
