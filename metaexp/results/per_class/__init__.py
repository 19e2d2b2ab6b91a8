"""The accuracy of each named class over all test episodes: its files, its figure, and what is said of it."""
