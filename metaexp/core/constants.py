"""Numbers that are on the device already when a step needs them."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


@cache
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return float32 numbers (n,) on a device, which must not be written to.

    They are moved there once: the program waits for a GPU to take numbers of Python, and a CUDA graph cannot repeat it.

    Args:
        values: The numbers.
        device: The device.
    """
    return torch.tensor(values, dtype=torch.float32, device=device)
