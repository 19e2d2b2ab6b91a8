"""Measures the values of decoded images, and scales those of more than 8 bits to 8."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from metaexp.core.errors import DataError
from metaexp.data.pixels.stored_values import COLOUR, EIGHT, FLOATS, LONG, SIGNED, SIXTEEN, TWELVE, Depth, Range, Values

_COLOUR: Final = re.compile(r"'(L|LA|RGB[AaX]*|CMYK);16[BLN]'")
"""How Pillow calls values of 16 bits of which it keeps the upper 8."""
_SIGNED: Final = re.compile(r"'I;16[BN]?S'")
_BITS, _WHITE_IS_ZERO, _FORMAT = 258, 262, 339
"""Tags of TIFF: BitsPerSample, PhotometricInterpretation (0: white is zero) and SampleFormat (2: with sign)."""
_KEEPS_VALUES: Final = ("L", "LA", "RGB", "RGBA")


def stored_depth(image: ImageFile.ImageFile, name: str) -> Depth:
    """Return how a file stores the values of an image.

    Args:
        image: The image, open and not loaded: Pillow then forgets it.
        name: What messages call it.

    Raises:
        DataError: It is a TIFF whose values Pillow misreads.
    """
    is_deep = image.mode == "F" or image.mode.startswith("I")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _refuse_misread(image.tag_v2, name, is_deep)
    stored = str(image.tile[:1])
    if not is_deep:
        return COLOUR if _COLOUR.search(stored) else EIGHT
    if image.mode == "F":
        return FLOATS
    if _SIGNED.search(stored):
        return SIGNED
    return TWELVE if "'I;12'" in stored else LONG if "'I;32" in stored else SIXTEEN


def _refuse_misread(tags: Any, name: str, is_deep: bool) -> None:
    if is_deep and tags.get(_WHITE_IS_ZERO) == 0:
        raise DataError(f"{name} stores white as 0 in more than 8 bits, which is not read. Save it with black as 0.")
    if not is_deep and 2 in (tags.get(_FORMAT) or ()) and 8 in (tags.get(_BITS) or ()):
        raise DataError(f"{name} stores 8 bits with sign, which are not read. Save it with values from 0 to 255.")


def measured(image: Image.Image, depth: Depth) -> Values:
    """Return the least and the largest value of an image, over all channels but that of transparency.

    Args:
        image: The image, loaded.
        depth: How its file stores it.
    """
    if depth not in (EIGHT, COLOUR):
        values = np.asarray(image)
        return Values(depth, float(values.min()) + 0.0, float(values.max()) + 0.0)  # -0 becomes 0
    if image.mode not in _KEEPS_VALUES:
        image = image.convert("RGBA" if image.mode in ("P", "PA") else "RGB")
    extrema = np.array([image.getchannel(band).getextrema() for band in image.getbands() if band != "A"])
    upper = 257 if depth == COLOUR else 1  # the upper 8 of 16 bits are left
    return Values(depth, float(extrema.min()) * upper, float(extrema.max()) * upper)


def scaled(image: Image.Image, depth: Depth, value_range: Range) -> tuple[Image.Image, str]:
    """Return an image of 8 bits, and what was done to its values; "" where they are as they were.

    Args:
        image: The image. All its values lie within the range.
        depth: How its file stores it.
        value_range: The values that become 0 and 255.
    """
    if depth == COLOUR or (depth == EIGHT and value_range == EIGHT.own_range):
        return image, ""
    found = _stretched(image, *value_range) if depth == EIGHT else _eight_bits(image, *value_range)
    usual = FLOATS.own_range if depth == FLOATS else SIXTEEN.own_range
    of_range = "" if value_range == usual else f" from {value_range[0]:.10g}..{value_range[1]:.10g}"
    return found, f"scaled{of_range} to 8 bits"


def _eight_bits(image: Image.Image, black: float, white: float) -> Image.Image:
    values = np.asarray(image)
    grey = Image.fromarray(((values.astype(np.float64) - black) * (255 / (white - black))).round().astype(np.uint8))
    if isinstance(value := image.info.get("transparency"), int):  # of a PNG in which one grey is transparent
        grey.putalpha(Image.fromarray(np.where(values == value, 0, 255).astype(np.uint8)))
    return grey


def _stretched(image: Image.Image, black: float, white: float) -> Image.Image:
    """An image of 8 bits; its transparency stays."""
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    opaque = image if alpha is None else image.convert("RGBA")
    base = opaque.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
    table = [round(min(max((value - black) * 255 / (white - black), 0), 255)) for value in range(256)]
    found = base.point(table * len(base.getbands()))
    if alpha is not None:
        found.putalpha(alpha)
    return found
