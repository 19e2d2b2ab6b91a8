"""Examples grouped by class, and the tasks drawn from them."""
