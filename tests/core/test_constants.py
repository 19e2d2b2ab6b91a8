"""Constants are moved to a device once."""

from __future__ import annotations

import torch

from metaexp.core.constants import constant

CPU, META = torch.device("cpu"), torch.device("meta")


def test_a_constant_is_made_once_for_each_device() -> None:
    found = constant((0.5, 0.1), CPU)
    assert torch.equal(found, torch.tensor([0.5, 0.1]))
    assert constant((0.5, 0.1), CPU) is found
    assert constant((0.5, 0.1), META).is_meta
    assert constant((0.1, 0.5), CPU) is not found


def test_it_is_float32_whatever_the_default_is() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert constant((0.25,), CPU).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
