"""The processes in which jobs run: started, forked from a warm parent, and kept in a pool."""
