"""Numbers and labels that are given in Python, as a learner takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from metaexp.core.counted import listed
from metaexp.core.errors import ConfigError
from metaexp.data.values.refused_values import FILL_IN, format_not_finite, has_masked

Array = npt.ArrayLike | Tensor
"""Numbers that numpy or torch can take."""

_REAL: Final = "biuf"
"""The kinds of numpy's real numbers."""


def as_tensor(values: Array, name: str) -> Tensor:
    """Return numbers as float32 on the CPU, in the shape (...) that they have.

    Args:
        values: The numbers, of any real type and order of bytes.
        name: What the message calls them.

    Raises:
        ConfigError: They are not real numbers, not an array, or some are masked or not finite as float32.
    """
    if has_masked(values):
        raise ConfigError(f"{name} has masked values (numpy.ma), and what is below a mask is not taken. {FILL_IN}")
    given = _dense(values, name) if isinstance(values, Tensor) else _real(values, name)
    if isinstance(given, Tensor):
        found = given.detach().to("cpu", torch.float32)
    else:
        with np.errstate(over="ignore"):  # what is too large is infinite then, and refused as such
            found = torch.from_numpy(given.astype(np.float32))
    if problem := format_not_finite(found.numpy(), given, name):
        raise ConfigError(problem)
    return found.clone() if found.is_inference() else found  # inner steps need gradients, which such a tensor refuses


def _dense(values: Tensor, name: str) -> Tensor:
    if values.is_complex() or values.layout != torch.strided or values.is_meta:
        form = f"{values.dtype}, {values.layout}, on {values.device}".replace("torch.", "")
        raise ConfigError(f"{name} is a tensor that is {form}; give a dense one of real numbers.")
    return values


def _real(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    try:
        array = np.array(values)
    except ValueError as error:  # rows of different lengths
        raise ConfigError(f"{name} is not an array of numbers: {error}") from error
    if array.dtype.kind not in _REAL:
        raise ConfigError(f"{name} is an array of {array.dtype}; give real numbers, such as {name}.astype('float32').")
    return array


def as_labels(y: Array, n_examples: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return the sorted classes (N,) that labels name, and the number (S,) of each label among them.

    Args:
        y: The labels (S,).
        n_examples: S.

    Raises:
        ConfigError: A label is missing, there is not one for each example, they are of several kinds, or they cannot
            be sorted.
    """
    array = np.asarray(None if has_masked(y) else y)
    given: Sequence[object] = y if isinstance(y, (list, tuple)) else array.ravel().tolist()
    if any(map(_is_missing, array.ravel().tolist())):
        raise ConfigError("y has missing labels (None, NaN, NA or masked). Leave out examples without a label.")
    if array.shape != (n_examples,):
        raise ConfigError(f"y has shape {array.shape}; give one label for each of the {n_examples} examples.")
    kinds: dict[str, object] = {}
    for label in given:
        kinds.setdefault("text" if isinstance(label, str) else type(label).__name__, label)
    if "text" in kinds and len(kinds) > 1:  # numpy would make texts of all
        some = listed([repr(label) for label in kinds.values()], 2, mark=" and ")
        raise ConfigError(f"y has labels of several kinds, such as {some}. Give all as texts, or all as numbers.")
    try:
        names, labels = np.unique(array, return_inverse=True)
    except TypeError as error:
        raise ConfigError(f"y has labels that cannot be sorted: {error}. Give texts or numbers.") from error
    return names, labels


def _is_missing(label: object) -> bool:
    """Whether a label is None, NaN, which is not equal to itself, or NA of pandas, which does not say whether it is."""
    try:
        return label is None or bool(label != label)
    except TypeError:
        return True
