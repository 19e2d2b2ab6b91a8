"""Stops a benchmark unless the ways that it compares compute the same: loss, and the gradient of each parameter."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from metaexp.doctor.differences import largest_difference

TOLERANCE = 1e-8
"""A loss, and the gradient of each parameter, may differ so much in float64, in parts of their size. Rounding leaves
some 1e-14."""

Computed = tuple[Tensor, Mapping[str, Tensor]]
"""A loss (), and its gradients by the name of the parameter."""


def require_equal(what: str, found: Computed, expected: Computed, least: float) -> float:
    """Compare two losses, and the gradient of each parameter by its own norm.

    Args:
        what: What is compared, for the message.
        found: What one way gives.
        expected: What the other one gives.
        least: The least size of a gradient, in parts of the whole, see :func:`largest_difference`.

    Returns:
        How far a gradient differs at most, in parts of its norm.

    Raises:
        SystemExit: They differ by more than rounding.
    """
    (loss, gradients), (expected_loss, expected_gradients) = found, expected
    parameter, difference = largest_difference(gradients, expected_gradients, least)
    errors = {
        "losses": float((loss - expected_loss).detach().abs() / expected_loss.detach().abs()),
        f"gradients of {parameter}": difference,
    }
    for part, error in errors.items():
        if not error < TOLERANCE:
            raise SystemExit(f"{what}: the {part} differ by {error:.1e} of their size")
    return difference
