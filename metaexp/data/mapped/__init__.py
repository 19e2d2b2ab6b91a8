"""Examples that are larger than memory: kept in a file that is mapped into it."""
