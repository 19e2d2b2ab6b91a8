"""Real numbers that are the same bits on every device.

IEEE 754 leaves one way to round a sum or a product of float32, and each operation on tensors here is one of these,
so a GPU gives what a CPU gives. The sines, exponentials and normal deviates of a library come with no such promise;
these are composed of such operations and of exact ones on integers. Not used, because devices round them in
different ways: ``alpha=``, ``addcmul`` and ``lerp`` (a product and a sum rounded together or apart), division by a
number (on GPUs a product with its reciprocal), sums over an axis (their order), matrix products.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from metaexp.core.addressing import unit_floats
from metaexp.core.constants import constant

_PI_HIGH: Final = 201 / 64
"""The leading bits of pi: its products with whole numbers below 2**16 are exact in float32."""
_SINE: Final = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(7))
_LN2_HIGH: Final = 355 / 512
_DECAY: Final = tuple((-1.0) ** k / math.factorial(k) for k in range(11))
_POWERS: Final = tuple(0.5**n for n in range(64))
_EVEN_BYTES: Final = 0x00FF00FF00FF00FF
_ONES_16: Final = 0x0001000100010001
_BYTE_DEVIATION: Final = math.sqrt(8 * (256**2 - 1) / 12)


def uniform(keys: Tensor, low: float, high: float) -> Tensor:
    """Return one float32 (...) for each key, on an even grid of 2**24 values before rounding.

    Args:
        keys: The keys (...), int64.
        low: The least value.
        high: The largest value.
    """
    return unit_floats(keys) * (high - low) + low


def normal(keys: Tensor) -> Tensor:
    """One float32 (...) from each of ``keys`` (...), mean 0 and variance 1: the sum of the eight bytes of an int64.

    It is nearly normal: the kurtosis is 2.85 instead of 3, and no value lies beyond 4.89.
    """
    pairs = (keys & _EVEN_BYTES) + ((keys >> 8) & _EVEN_BYTES)  # four sums of 16 bits
    total = (pairs * _ONES_16) >> 48 & 0xFFFF
    return (total - 1020).to(torch.float32) * (1.0 / _BYTE_DEVIATION)


def sine(x: Tensor) -> Tensor:
    """sin(x) of float32 ``x`` (...), |x| < 1000, with an error below 3e-7.

    The nearest multiple of pi is taken off in two parts, and the rest goes into the Taylor series to x**13.
    """
    turns = (x * (1.0 / math.pi)).round()
    rest = (x - turns * _PI_HIGH) - turns * (math.pi - _PI_HIGH)
    square = rest * rest
    series = torch.full_like(rest, _SINE[-1])
    for coefficient in reversed(_SINE[:-1]):
        series = series * square + coefficient
    sign = 1.0 - 2.0 * (turns.to(torch.int64) & 1).to(torch.float32)
    return sign * (rest * series)


def decay(x: Tensor) -> Tensor:
    """exp(-x) of float32 ``x`` (...), 0 <= x < 40, with a relative error below 1e-6.

    exp(-x) = 2**-n * exp(-rest); the powers are looked up and the rest, in [0, ln 2], goes into the Taylor series.
    """
    powers = constant(_POWERS, x.device)
    halvings = (x * (1.0 / math.log(2.0))).floor()
    rest = (x - halvings * _LN2_HIGH) - halvings * (math.log(2.0) - _LN2_HIGH)
    series = torch.full_like(rest, _DECAY[-1])
    for coefficient in reversed(_DECAY[:-1]):
        series = series * rest + coefficient
    return series * powers[halvings.to(torch.int64)]
