"""Predicts new examples with the adapted learner of a run, with calibrated sets."""
