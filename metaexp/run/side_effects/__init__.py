"""Side effects of tasks: on weights and buffers, on examples, and on what no checkpoint holds."""
