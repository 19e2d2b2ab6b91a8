"""A wrong gradient is noticed however small it is beside those of other parameters."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from metaexp.doctor.differences import largest_difference

LEAST = 1e-7


def gradients() -> dict[str, Tensor]:
    """Gradients of very different sizes: ``bias`` is rounding."""
    torch.manual_seed(0)
    sizes = {"start": 1.0, "lstm": 1e-6, "bias": 1e-15}
    return {name: size * torch.randn(50, dtype=torch.float64) for name, size in sizes.items()}


@pytest.mark.parametrize("name", ["start", "lstm"])
def test_each_gradient_is_compared_by_its_own_norm(name: str) -> None:
    expected = gradients()
    found = expected | {name: expected[name] * (1 + 1e-5)}
    assert largest_difference(found, expected, LEAST) == (name, pytest.approx(1e-5))
    assert largest_difference(expected, expected, LEAST)[1] == 0.0


def test_one_norm_of_all_would_hide_what_is_found_here() -> None:
    expected = gradients()
    found = expected | {"lstm": expected["lstm"] * (1 + 1e-5)}
    a, b = (torch.cat(list(side.values())) for side in (found, expected))
    assert (a - b).norm() / b.norm() < 1e-10
    assert largest_difference(found, expected, 1.0)[1] < 1e-10
    assert largest_difference(found, expected, LEAST)[1] > 1e-6


def test_rounding_is_compared_with_the_least_size() -> None:
    expected = gradients()
    assert largest_difference(expected | {"bias": -expected["bias"]}, expected, LEAST)[1] < 1e-7
    assert largest_difference(expected | {"bias": expected["lstm"]}, expected, LEAST)[1] > 1.0


def test_nan_is_the_largest_difference_and_zero_is_compared_as_it_is() -> None:
    expected = gradients()
    assert largest_difference(expected | {"lstm": expected["lstm"] * math.nan}, expected, LEAST) == ("lstm", math.inf)
    zero = {"a": torch.zeros(4)}
    assert largest_difference({"a": torch.ones(4)}, zero, LEAST) == ("a", 2.0)
    assert largest_difference(zero, zero, LEAST) == ("a", 0.0)
    assert largest_difference({}, {}, LEAST) == ("", 0.0)


def test_gradients_of_other_parameters_are_refused() -> None:
    expected = gradients()
    for other in ({"start": expected["start"]}, expected | {"lstm": expected["lstm"][:, None]}):
        with pytest.raises(ValueError, match="gradients of other parameters"):
            largest_difference(other, expected, LEAST)
