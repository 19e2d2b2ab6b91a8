"""Where a run begins, if not at random weights: a file of weights, or the last checkpoint of another run."""
