"""The finding of a check."""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

import metaexp

Verdict = Literal["ok", "wrong", "does not apply"]

SAME = 1e-6
"""A gap below it is rounding."""
OTHER = 1e-4
"""A gap above it is a difference that matters."""


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        name: The name of the check.
        verdict: ok, wrong, or does not apply.
        sentence: What the result means, for a person.
        measured: Name -> number, the measurements behind the verdict.
    """

    name: str
    verdict: Verdict
    sentence: str
    measured: Mapping[str, float]


def ok(name: str, sentence: str, **measured: float) -> Finding:
    """Return a finding of nothing wrong. Names of measured numbers have underscores for spaces.

    Args:
        name: The name of the check.
        sentence: What was found.
        **measured: The numbers behind it.
    """
    return Finding(name, "ok", sentence, _spaced(measured))


def wrong(name: str, sentence: str, **measured: float) -> Finding:
    """Return a finding of something wrong.

    Args:
        name: The name of the check.
        sentence: What is wrong.
        **measured: The numbers behind it.
    """
    return Finding(name, "wrong", sentence, _spaced(measured))


def does_not_apply(name: str, sentence: str) -> Finding:
    """Return a finding where there is nothing to check.

    Args:
        name: The name of the check.
        sentence: Why it does not apply.
    """
    return Finding(name, "does not apply", sentence, {})


def gap(a: Tensor, b: Tensor) -> float:
    """Return the largest difference between two tensors of predictions, in standard deviations of ``b``.

    The unit makes scores in any range comparable. The result is infinite where something is not a number.

    Args:
        a: Predictions, of any shape.
        b: Predictions of the same shape.
    """
    largest = float((a - b).abs().max())
    spread = float(b.std()) if b.numel() > 1 else 0.0
    return no_nan(largest / spread if spread > 0 else largest)


def no_nan(number: float) -> float:
    """Return infinity in place of NaN, which no comparison would notice, and any other number as it is."""
    return math.inf if math.isnan(number) else number


def format_error(error: Exception) -> str:
    """Return the message of an exception, and its place in the algorithm's own code."""
    text = (str(error).strip().splitlines() or [""])[0]
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if is_of_an_algorithm(Path(frame.filename))]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"raises {type(error).__name__}: {text}{where}"


def is_of_an_algorithm(file: Path) -> bool:
    """Whether a file is neither of Python, nor of torch, nor of metaexp outside its algorithms."""
    framework = Path(metaexp.__file__).parent
    if framework in file.parents:
        return framework / "algorithms" in file.parents
    is_python = Path(traceback.__file__).parent in file.parents and "site-packages" not in file.parts
    return file.is_file() and not is_python and Path(torch.__file__).parent not in file.parents


def _spaced(measured: Mapping[str, float]) -> dict[str, float]:
    return {name.replace("_", " "): float(value) for name, value in measured.items()}
