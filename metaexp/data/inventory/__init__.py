"""Which data are here, whether they are intact, what is known of them, and what is in them."""
