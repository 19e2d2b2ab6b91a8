"""Measures the values of decoded images, and scales those of more than 8 bits to 8."""

from __future__ import annotations

import re
import sys
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, TiffImagePlugin

from metaexp.core.errors import DataError
from metaexp.data.pixels.stored_values import (
    COLOUR,
    EIGHT,
    FLOATS,
    LONG,
    SIGNED,
    SIXTEEN,
    TWELVE,
    UPPER_COLOUR,
    Depth,
    Range,
    Values,
)

_UPPER: Final = re.compile(r"'(L|LA|RGB[AaX]*|CMYK);16[BLN]'")
"""How Pillow calls values of 16 bits of which it keeps the upper 8."""
_COLOUR: Final = re.compile(r"'RGB[AX]?;16[BLN]'")
"""Those whose lower 8 bits it can read, too."""
_OTHER_BYTE: Final = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""How Pillow calls the order of bytes by which it keeps the other byte: big, little or native."""
_SIGNED: Final = re.compile(r"'I;16[BN]?S'")
_BITS, _COMPRESSION, _WHITE_IS_ZERO, _PLANES, _FORMAT = 258, 259, 262, 284, 339
"""Tags of TIFF: BitsPerSample, Compression (1: none), PhotometricInterpretation (0: white is zero), PlanarConfiguration
(2: each channel is stored apart) and SampleFormat (2: with sign, 3: floats)."""
_OWN_ORDER: Final = b"II" if sys.byteorder == "little" else b"MM"
"""How a TIFF begins that has this machine's order of bytes."""
_KEEPS_VALUES: Final = ("L", "LA", "RGB", "RGBA")


class Stored(NamedTuple):
    """An image as Pillow gives it, and how its file stores its values.

    Attributes:
        image: The image. Of colour of 16 bits a channel, it has the upper 8.
        depth: How its file stores its values.
        lower: The lower 8 bits of :data:`COLOUR`; None for other depths.
    """

    image: Image.Image
    depth: Depth
    lower: Image.Image | None = None


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
        if not _UPPER.search(stored):
            return EIGHT
        return COLOUR if _COLOUR.search(stored) and _is_whole(image) else UPPER_COLOUR
    if image.mode == "F":
        return FLOATS
    if _SIGNED.search(stored):
        return SIGNED
    return TWELVE if "'I;12'" in stored else LONG if "'I;32" in stored else SIXTEEN


def _is_whole(image: ImageFile.ImageFile) -> bool:
    """Whether Pillow can read the lower 8 bits of colour as it reads the upper ones."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return image.tag_v2.get(_PLANES) != 2
    return image.format == "PNG"


def lower_bits(image: ImageFile.ImageFile) -> Image.Image:
    """Return the lower 8 bits of an image of 16 bits a channel.

    Args:
        image: The image, open and not loaded.
    """
    make: Any = getattr(image.tile[0], "_make", tuple)  # tiles were plain tuples before Pillow 11
    image.tile = [make((*tile[:3], _other_byte(tile[3]))) for tile in image.tile]
    image.load()
    return image


def _other_byte(arguments: Any) -> Any:
    """Arguments of a decoder, the first or only one of which is how Pillow calls the values."""
    if isinstance(arguments, str):
        return arguments[:-1] + _OTHER_BYTE[arguments[-1]]
    return (_other_byte(arguments[0]), *arguments[1:])


def _refuse_misread(tags: Any, name: str, is_deep: bool) -> None:
    bits, formats = tags.get(_BITS) or (1,), tags.get(_FORMAT) or ()
    is_unusual = max(bits) > 8 or tags.get(_WHITE_IS_ZERO) == 0
    is_own_float = (bits, formats, tags.prefix) == ((32,), (3,), _OWN_ORDER)  # Pillow takes all for such values
    if is_unusual and not is_own_float and tags.get(_PLANES) == 2 and tags.get(_COMPRESSION, 1) == 1:
        raise DataError(
            f"{name} stores each channel apart, without compression, and has more than 8 bits a channel or white as 0. "
            "That is not read. Save it with the channels of a pixel together (PlanarConfiguration 1)."
        )
    if is_deep and tags.get(_WHITE_IS_ZERO) == 0:
        raise DataError(f"{name} stores white as 0 in more than 8 bits, which is not read. Save it with black as 0.")
    if not is_deep and 2 in formats and 8 in bits:
        raise DataError(f"{name} stores 8 bits with sign, which are not read. Save it with values from 0 to 255.")


def with_alpha(stored: Stored) -> Stored:
    """Return an image that is transparent where it has the one transparent colour that its file names, if it does.

    Pillow compares the 16 bits of such a colour in a PNG with the upper 8 of the pixels. It does other depths right.

    Args:
        stored: The image, loaded.
    """
    image, _, lower = stored
    if lower is None or not isinstance(colour := image.info.pop("transparency", None), tuple):
        return stored
    is_clear = (_wide(image, lower) == np.array(colour, np.uint16)).all(-1)
    image.putalpha(Image.fromarray(np.where(is_clear, 0, 255).astype(np.uint8)))
    return stored


def measured(stored: Stored) -> Values:
    """Return the least and the largest value of an image, over all channels but that of transparency.

    Args:
        stored: The image, loaded.
    """
    image, depth, lower = stored
    if depth not in (EIGHT, UPPER_COLOUR):
        values = np.asarray(image) if lower is None else _wide(image, lower)
        return Values(depth, float(values.min()) + 0.0, float(values.max()) + 0.0)  # -0 becomes 0
    if image.mode not in _KEEPS_VALUES:
        image = image.convert("RGBA" if image.mode in ("P", "PA") else "RGB")
    extrema = np.array([image.getchannel(band).getextrema() for band in image.getbands() if band != "A"])
    upper = 257 if depth == UPPER_COLOUR else 1
    return Values(depth, float(extrema.min()) * upper, float(extrema.max()) * upper)


def _wide(upper: Image.Image, lower: Image.Image) -> npt.NDArray[np.uint16]:
    """The values (H, W, 3) of colour of 16 bits a channel, without transparency."""
    first, last = (np.asarray(part)[..., :3].astype(np.uint16) for part in (upper, lower))
    return first * np.uint16(256) + last


def scaled(stored: Stored, value_range: Range) -> tuple[Image.Image, str]:
    """Return an image of 8 bits, and what was done to its values; "" where they are as they were.

    Colour of 16 bits a channel in its own range becomes its upper 8 bits.

    Args:
        stored: The image. All its values lie within the range.
        value_range: The values that become 0 and 255.
    """
    image, depth, lower = stored
    if depth in (EIGHT, COLOUR, UPPER_COLOUR) and value_range == depth.own_range:
        return image, ""
    if depth == EIGHT:
        found = _stretched(image, *value_range)
    elif lower is not None:
        found = Image.fromarray(_bytes(_wide(image, lower), *value_range))
        if "A" in image.getbands():
            found.putalpha(image.getchannel("A"))
    else:
        found = _eight_bits(image, *value_range)
    usual = FLOATS.own_range if depth == FLOATS else SIXTEEN.own_range
    of_range = "" if value_range == usual else f" from {value_range[0]:.10g}..{value_range[1]:.10g}"
    return found, f"scaled{of_range} to 8 bits"


def _bytes(values: npt.NDArray[Any], black: float, white: float) -> npt.NDArray[np.uint8]:
    return ((values.astype(np.float64) - black) * (255 / (white - black))).round().astype(np.uint8)


def _eight_bits(image: Image.Image, black: float, white: float) -> Image.Image:
    values = np.asarray(image)
    grey = Image.fromarray(_bytes(values, black, white))
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
