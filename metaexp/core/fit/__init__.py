"""Whether tasks fit the data and the algorithm, and what helps where they do not."""
