"""Initialisations that papers name."""

from __future__ import annotations

from torch import Tensor, nn


def truncated_normal(weight: Tensor, std: float) -> None:
    """Fill in place from a normal distribution cut at two standard deviations, like TensorFlow's initialiser.

    Args:
        weight: The tensor to fill, of any shape.
        std: The standard deviation before the cut.
    """
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def zero_bias(layer: nn.Linear | nn.Conv2d) -> None:
    """Set the bias to zero, in place."""
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
