"""Make a run, or a paper's experiment, again, and say what differs."""
