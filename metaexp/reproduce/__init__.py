"""Makes a run, or a paper's experiment, again, and says what differs."""
