"""How far two gradients of the same parameters differ."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def largest_difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], least: float) -> tuple[str, float]:
    """Return the parameter whose two gradients differ most, relative to the norm of its own gradient.

    One norm of all parameters together hides a wrong gradient of those with small gradients: in Meta-LSTM, the
    gradient of the recurrent weights is some 1e-6 of the whole. Some gradients are zero but for rounding, such as that
    of a bias before batch norm. They have no size of their own, so ``least`` of the whole norm is the least size.

    Args:
        found: Name -> gradient.
        expected: Name -> gradient that ``found`` is compared with.
        least: The least size that a difference is divided by, relative to the norm of all of ``expected``.

    Returns:
        The name, and the difference: infinite where there is a NaN, absolute where ``expected`` is zero everywhere.
        Without parameters, no name and zero.

    Raises:
        ValueError: The names or the shapes differ.
    """
    shapes = [{name: tuple(g.shape) for name, g in side.items()} for side in (found, expected)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"gradients of other parameters: {shapes[0]} and {shapes[1]}")
    whole = float(torch.tensor([float(g.norm()) for g in expected.values()]).double().norm())
    differences = {
        name: _ratio(float((found[name] - g).norm()), max(float(g.norm()), least * whole))
        for name, g in expected.items()
    }
    return max(differences.items(), key=lambda pair: pair[1], default=("", 0.0))


def _ratio(difference: float, size: float) -> float:
    """``difference / size``; infinite instead of NaN, and ``difference`` where the size is zero."""
    ratio = difference / size if size > 0 else difference
    return ratio if ratio == ratio else float("inf")
