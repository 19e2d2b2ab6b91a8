"""What a check found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from torch import Tensor

Verdict = Literal["ok", "wrong", "does not apply"]

SAME = 1e-6
"""A gap below it is rounding."""
OTHER = 1e-4
"""A gap above it is a difference that matters."""


class Finding(NamedTuple):
    """The result of one check.

    sentence: what it means, for a person. measured: what -> number, that the verdict rests on.
    """

    name: str
    verdict: Verdict
    sentence: str
    measured: Mapping[str, float]


def ok(name: str, sentence: str, **measured: float) -> Finding:
    """Nothing wrong. Names of measured numbers are given with underscores for spaces."""
    return Finding(name, "ok", sentence, _spaced(measured))


def wrong(name: str, sentence: str, **measured: float) -> Finding:
    """Something wrong."""
    return Finding(name, "wrong", sentence, _spaced(measured))


def does_not_apply(name: str, sentence: str) -> Finding:
    """Nothing to check."""
    return Finding(name, "does not apply", sentence, {})


def gap(a: Tensor, b: Tensor) -> float:
    """The largest difference between predictions, in units of how much ``b`` varies at all (scores may be squashed)."""
    largest = float((a - b).abs().max())
    spread = float(b.std()) if b.numel() > 1 else 0.0
    return largest / spread if spread > 0 else largest


def _spaced(measured: Mapping[str, float]) -> dict[str, float]:
    return {name.replace("_", " "): float(value) for name, value in measured.items()}
