"""Config, build, train, evaluate, checkpoint: the only room that knows Hydra."""
