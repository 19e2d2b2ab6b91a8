"""Reads what a map-style dataset gives as an example: a PIL image, a uint8 image, or floats."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from metaexp.core.errors import DataError, first_line
from metaexp.data.files.images import composited, upright
from metaexp.data.values.refused_values import has_masked, refuse_not_finite

_CHANNELS: Final = (1, 3)

Array = npt.NDArray[Any]


def read_example(example: Any, name: str, image_size: int | None) -> tuple[Array, bool]:
    """Return a uint8 image (C, H, W), or float32, and whether it was turned as its EXIF orientation says.

    Args:
        example: What the dataset gave.
        name: What messages call it.
        image_size: Height and width to which PIL images are brought; None leaves them as they are.

    Raises:
        DataError: It is of no known kind, or cannot be read.
    """
    if isinstance(example, Image.Image):
        try:
            return _from_pil(example, name, image_size)
        except (OSError, ValueError) as error:  # of a file that is opened here, or a mode that cannot be converted
            raise DataError(f"{name} cannot be read: {type(error).__name__}: {error}.") from error
    array = as_array(example, name)
    if array.dtype == np.uint8:
        return _channels_first(array, name).copy(order="C"), False  # some datasets give one buffer again and again
    if array.dtype.kind == "f" and array.ndim in (1, 2, 3) and array.size:
        with np.errstate(over="ignore"):
            floats = array.astype(np.float32)
        missing = "Leave the item out of the dataset, or fill the value in."
        refuse_not_finite(floats, array, name, first=None, missing=missing)
        return np.ascontiguousarray(floats), False
    raise DataError(
        f"{name} is {array.dtype} of shape {array.shape}; an example must be a PIL image, a uint8 image, or floats: "
        "(D,), (L, D) or (C, H, W)."
    )


def as_array(value: Any, name: str) -> Array:
    """Return a tensor, or what numpy makes of a value.

    Args:
        value: What the dataset gave.
        name: What messages call it.

    Raises:
        DataError: No array can be made of it, or values of it are masked.
    """
    if has_masked(value):
        raise DataError(
            f"{name} is masked (numpy.ma). What is below a mask is not taken: leave the item out of the dataset, or "
            "fill it in (array.filled(0))."
        )
    try:
        if isinstance(value, Tensor):
            dense = value.detach().cpu()
            return np.asarray(dense.float() if dense.is_floating_point() else dense)  # numpy has no bfloat16
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # of ragged lists, sparse tensors
        raise DataError(f"{name} cannot be made into an array: {first_line(error).rstrip('.')}.") from error


def _channels_first(array: Array, name: str) -> Array:
    if array.ndim == 2 and array.size:
        return array[None]
    if array.ndim == 3 and array.size and array.shape[0] in _CHANNELS:
        return array
    if array.ndim == 3 and array.size and array.shape[2] in _CHANNELS:
        return array.transpose(2, 0, 1)
    raise DataError(
        f"{name} is uint8 of shape {array.shape}; images must be (H, W), (C, H, W) or (H, W, C) with 1 or 3 channels."
    )


def _from_pil(image: Image.Image, name: str, size: int | None) -> tuple[Array, bool]:
    if image.mode == "F" or image.mode.startswith("I"):
        raise DataError(
            f"{name} is a PIL image of mode {image.mode}, whose values have no known range. Let the dataset scale it "
            "to 8 bits, or give floats (1, H, W) in its place."
        )
    turned = upright(image)
    image = image if turned is None else turned
    grey = image.mode in ("1", "L", "LA")
    image = (composited(image, "white") or image).convert("L" if grey else "RGB")
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    array = np.asarray(image)
    return np.ascontiguousarray(array[None] if grey else array.transpose(2, 0, 1)), turned is not None
