"""What tasks leave behind: in weights and buffers, in examples, and where no checkpoint holds it."""
