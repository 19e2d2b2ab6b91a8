"""Several datasets as one: each episode is drawn from one of them."""
