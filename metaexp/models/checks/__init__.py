"""What a network must be and do before it is trained, and what is said where it is not."""
