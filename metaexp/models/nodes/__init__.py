"""Layers and groups of layers as single nodes of autograd, with derivatives written by hand."""
