"""Gradients that can be differentiated again, for nodes whose own gradients are written by hand and cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def gradients_for_more(
    function: Callable[..., Tensor], inputs: Sequence[Tensor | None], gradient: Tensor
) -> list[Tensor | None]:
    """Gradients by the inputs of a function, by autograd; None where an input is None or needs no gradient.

    One input may depend on another: kernels that are computed from gamma, or maps of a block that shares its gamma.
    Autograd must not follow that here, since it does so outside. So the function gets a view of each input.

    Args:
        function: computes the node's values from the inputs, by operations that autograd can differentiate.
        inputs: the node's inputs, as they were saved.
        gradient: by the values, of their shape.

    Returns:
        Gradients of the shapes of the inputs: (O, C, k, k) of kernels, (C,) of gamma, (B, C, H, W) of maps.
    """
    views = [None if tensor is None else tensor.view_as(tensor) for tensor in inputs]
    wanted = [tensor for tensor in views if tensor is not None and tensor.requires_grad]
    if not wanted:
        return [None] * len(views)
    found = iter(torch.autograd.grad(function(*views), wanted, gradient, create_graph=True))
    return [next(found) if tensor is not None and tensor.requires_grad else None for tensor in views]
