"""One file per paper, independent of each other."""
