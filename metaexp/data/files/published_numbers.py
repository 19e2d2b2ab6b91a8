"""Checks numbers in published files before they are used as positions, labels or pixels. Imports no torch.

NumPy cuts off fractions and wraps large numbers around when it converts, without an error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from metaexp.core.errors import DataError
from metaexp.data.files.images import Bytes


def whole_numbers(values: Any, name: str, most: int) -> npt.NDArray[np.int64]:
    """Check a list of places or labels.

    Args:
        values: Whatever the file has there.
        name: The file and the key, for messages.
        most: The largest number that is possible.

    Returns:
        (n,) int64.

    Raises:
        DataError: The array holds anything but whole numbers from 0 to ``most``.
    """
    array = _array(values)
    if array is not None and array.size == 0:
        return np.zeros(0, np.int64)
    if array is None or array.dtype.kind not in "iu" or array.ndim == 0:
        kind = "something else" if array is None else f"{array.dtype} of shape {array.shape}"
        raise DataError(f"{name} must be whole numbers from 0 to {most}; it is {kind}.")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > most:
        raise DataError(f"{name} must be whole numbers from 0 to {most}; they go from {low} to {high}.")
    return array.astype(np.int64).reshape(-1)


def pixels(values: Any, name: str) -> Bytes:
    """Check images.

    Args:
        values: Whatever the file has there.
        name: The file and the key, for messages.

    Returns:
        The same numbers as uint8.

    Raises:
        DataError: The pixels are anything but whole numbers from 0 to 255.
    """
    array = _array(values)
    if array is None or array.dtype.kind not in "iu":
        kind = "something else" if array is None else array.dtype
        raise DataError(f"{name} must be pixels from 0 to 255 as whole numbers; it is {kind}. Save it as uint8.")
    if array.size and array.dtype != np.uint8 and (array.min() < 0 or array.max() > 255):
        raise DataError(f"{name} must be pixels from 0 to 255; they go from {array.min()} to {array.max()}.")
    return array.astype(np.uint8, copy=False)


def _array(values: Any) -> npt.NDArray[Any] | None:
    """``values`` as an array of one type; None where they have none in common."""
    try:
        return np.asarray(values)
    except (ValueError, TypeError, OverflowError):
        return None
