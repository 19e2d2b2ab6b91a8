"""Types and pure functions that every other room stands on. Importing this package does not import torch."""
