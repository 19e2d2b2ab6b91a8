"""metaexp: an experiment framework for meta-learning."""

__version__ = "0.1.0"
