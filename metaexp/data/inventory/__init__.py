"""Which data are here, whether they are intact, and what is known of them."""
