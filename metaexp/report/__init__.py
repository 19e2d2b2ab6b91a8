"""Makes the pages of docs/results from committed records."""
