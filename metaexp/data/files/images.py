"""From image files to bytes in memory."""

from __future__ import annotations

import io
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from metaexp.core.errors import DataError

Bytes = npt.NDArray[np.uint8]

Resampling = Literal["nearest", "bilinear", "bicubic", "lanczos"]

_FILTERS: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_MOST_PIXELS: Final = 64_000_000
MOST_BYTES: Final = 64_000_000
"""Of one image file."""


def open_image(content: bytes, name: str) -> Image.Image:
    """Decode an image file. Raises DataError, naming it ``name``, if it is none or has absurdly many pixels."""
    try:
        image = Image.open(io.BytesIO(content))
        if image.width * image.height > _MOST_PIXELS:
            raise DataError(f"{name} has {image.width}x{image.height} pixels; {_MOST_PIXELS} at most are read.")
        image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{name} is not an image that can be read: {error}.") from error
    return image


def to_array(image: Image.Image, channels: int, size: int, resize: Resampling) -> Bytes:
    """``image`` as (C, size, size), in grey (1 channel) or RGB (3), resized without keeping its proportions."""
    converted = image.convert("L" if channels == 1 else "RGB")
    if converted.size != (size, size):
        converted = converted.resize((size, size), _FILTERS[resize])
    array = np.asarray(converted, dtype=np.uint8)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def resize_array(array: Bytes, size: int, resize: Resampling) -> Bytes:
    """``array`` (C, H, W), 1 or 3 channels, resized to (C, size, size)."""
    if array.shape[1:] == (size, size):
        return array
    pixels = array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)
    return to_array(Image.fromarray(np.ascontiguousarray(pixels)), array.shape[0], size, resize)
