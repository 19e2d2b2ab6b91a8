"""What a difference between runs is, and how sure it is: paired by test episode."""
