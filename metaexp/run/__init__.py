"""One run: build, train, evaluate, checkpoint, record, resume."""
