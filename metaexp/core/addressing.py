"""Numbers that are addressed, not drawn: a counter-based hash for a whole batch of episodes at once.

Everything random about an episode is a function of (seed, split, index), so it does not matter which
process, rank, batch or device asks for it, and resuming needs no sampler state. Only integer operations
that are exact on every device are used (64-bit wrap-around multiplication, shifts, exclusive or), so the
CPU and the GPU give the same bits.

The hash is the finaliser ``mix`` of SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014), with G = 0x9E3779B97F4A7C15 the odd constant of that paper:

    key(seed, split, index)   = mix(mix(mix(seed + G) ^ tag(split)) + G * (index + 1))
    subkey(key, stream, i)    = mix((key ^ mix(stream + G)) + G * (i + 1))        i = 0, 1, 2, ...

Keys are int64 tensors. A key is both a random 64-bit word and the root of further streams; streams are
numbered so that two uses within one episode never share a word. No function here reads a value back from
the device.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from metaexp.core.shapes import Split

_GOLDEN: Final = 0x9E3779B97F4A7C15
_MULTIPLY_1: Final = 0xBF58476D1CE4E5B9
_MULTIPLY_2: Final = 0x94D049BB133111EB
_WORD: Final = (1 << 64) - 1

_SPLIT_TAGS: Final[dict[Split, int]] = {"train": 0x7472, "val": 0x7661, "test": 0x7465}
"""The first two letters of each name: any distinct constants would do."""


def episode_keys(seed: int, split: Split, indices: Tensor) -> Tensor:
    """Return the keys (T,) of episodes, on the device of ``indices``.

    Args:
        seed: The seed of the episodes.
        split: The split that they are drawn from.
        indices: Their numbers (T,) int64.
    """
    root = _mix_int(_mix_int(seed + _GOLDEN) ^ _SPLIT_TAGS[split])
    return _mix((indices + 1) * _signed(_GOLDEN) + _signed(root))


def subkeys(keys: Tensor, stream: int, n: int) -> Tensor:
    """Return ``n`` keys (..., n) from each key.

    Args:
        keys: The keys (...).
        stream: Different streams give unrelated keys.
        n: How many keys to make from each.
    """
    counter = torch.arange(1, n + 1, dtype=torch.int64, device=keys.device) * _signed(_GOLDEN)
    root = keys ^ _signed(_mix_int(stream + _GOLDEN))
    return _mix(root.unsqueeze(-1) + counter)


def integers(keys: Tensor, high: int | Tensor) -> Tensor:
    """One integer in [0, high) from each of ``keys``. ``high`` is in [1, 2**31) and broadcasts against keys.

    The upper half of the word is scaled (Lemire, 2019, without the rejection step): every value has the
    probability 1 / high to within 2**-32.

    Args:
        keys: Words of 64 bits, int64 of any shape.
        high: The end of the range, which is not reached.
    """
    return _shift_right(keys, 32) * high >> 32


def unit_floats(keys: Tensor) -> Tensor:
    """One float32 in [0, 1), a multiple of 2**-24, from each of ``keys`` (...), int64. Returns a tensor (...)."""
    return _shift_right(keys, 40).to(torch.float32) * 2.0**-24


def distinct(keys: Tensor, stream: int, n: int, high: int | Tensor) -> Tensor:
    """``n`` distinct integers below ``high`` in random order, for each of ``keys``.

    All ordered selections are equally likely. The first m of n are what m alone would have given: more shots or
    queries are added to an episode and replace none. These are the first n steps of a Fisher-Yates shuffle of
    0..high-1 without the array, so the cost does not depend on ``high``. Step i takes what lies at place p_i >= i,
    and finds it by going back through the earlier exchanges.

    Args:
        keys: int64 tensor (...), one key per selection.
        stream: the number of the random stream; other streams are independent.
        n: how many integers to draw per key.
        high: an int, or an int64 tensor (...) with one bound per key. It must be at least ``n``, which is not
            checked on the device.

    Returns:
        An int64 tensor (..., n).
    """
    steps = torch.arange(n, dtype=torch.int64, device=keys.device)
    bound = high.unsqueeze(-1) if isinstance(high, Tensor) else high
    places = integers(subkeys(keys, stream, n), bound - steps) + steps  # (..., n)
    chosen = places.clone()
    for i in reversed(range(n - 1)):
        later = chosen[..., i + 1 :]
        later.masked_fill_(later == places[..., i : i + 1], i)
    return chosen


def permutation(keys: Tensor, stream: int, n: int) -> Tensor:
    """Return a random order (..., n) of 0 ... n - 1 for each key: the stable order of ``n`` random words.

    Args:
        keys: The keys (...).
        stream: Different streams give unrelated orders.
        n: How many numbers are ordered.
    """
    return subkeys(keys, stream, n).argsort(dim=-1, stable=True)


def _mix(z: Tensor) -> Tensor:
    """The finaliser of SplitMix64 on every word of ``z`` int64: a bijection in which every bit affects all."""
    z = (z ^ _shift_right(z, 30)) * _signed(_MULTIPLY_1)
    z = (z ^ _shift_right(z, 27)) * _signed(_MULTIPLY_2)
    return z ^ _shift_right(z, 31)


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """A logical shift: torch's own repeats the sign bit of an int64."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _mix_int(z: int) -> int:
    """:func:`_mix` of one Python integer, taken as an unsigned 64-bit word."""
    z &= _WORD
    z = (z ^ (z >> 30)) * _MULTIPLY_1 & _WORD
    z = (z ^ (z >> 27)) * _MULTIPLY_2 & _WORD
    return z ^ (z >> 31)


def _signed(word: int) -> int:
    """The int64 with the bits of an unsigned 64-bit ``word``."""
    return word - (1 << 64) if word >> 63 else word
