"""Values of your own data that are refused, or warned of, and what to do about them."""
