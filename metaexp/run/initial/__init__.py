"""What a new run is made from: a command, a file of weights, the last checkpoint of another run."""
