"""Training steps on a GPU, recorded as CUDA graphs and replayed."""
