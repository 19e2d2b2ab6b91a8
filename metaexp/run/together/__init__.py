"""Several runs of one experiment trained together: their gradients are computed at once, by a map over the weights."""
