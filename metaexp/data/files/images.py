"""Reads image files into arrays."""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from metaexp.core.errors import DataError
from metaexp.data.classification.preprocessing import ImagePreparation
from metaexp.data.pixels.jpeg_damage import compressed_parts, has_bytes_left_over, is_cut_short
from metaexp.data.pixels.pixel_values import Stored, lower_bits, measured, scaled, stored_depth, with_alpha
from metaexp.data.pixels.stored_values import COLOUR, Range, Values, check_range

Bytes = npt.NDArray[np.uint8]

Resampling = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Background = Literal["white", "black"]

_FILTERS: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_ORIENTATION: Final = 0x0112
"""The EXIF tag; 2 to 8 are the turned and mirrored ones."""
_MOST_PIXELS: Final = 64_000_000
_TOO_LARGE: Final = f"{_MOST_PIXELS:,} at most are read. Make it smaller, or take it out."
_SETTINGS: Final = threading.Lock()
"""Held while a setting of the whole process is changed, so that two threads do not restore each other's."""
MOST_BYTES: Final = 64_000_000
"""The most bytes of one image file."""


class Reading(NamedTuple):
    """How image files become arrays.

    Attributes:
        channels: 1 for grey, 3 for colour.
        size: Height and width in pixels; proportions are not kept.
        background: What shows through where an image is transparent.
        upright: Whether photographs are turned as their EXIF orientation says, as a viewer shows them.
        crop: (file name, image) -> the part of it to use; None for all of it.
        resize: The filter.
        value_range: The stored values that become black and white; None for those of the depth of each image.
        has_range_key: Whether that is a key of the dataset, so that messages advise to set it.
        finds_damage: Whether JPEG files are decoded again to find damaged ones. The files of published sets are known.
    """

    channels: int
    size: int
    background: Background = "white"
    upright: bool = False
    crop: Callable[[str, Image.Image], Image.Image] | None = None
    resize: Resampling = "lanczos"
    value_range: Range | None = None
    has_range_key: bool = False
    finds_damage: bool = False


def own_reading(preparation: ImagePreparation, has_range_key: bool = True) -> Reading:
    """Return how image files of a user's own are read, for a dataset and for new examples alike.

    Args:
        preparation: How the dataset prepares images.
        has_range_key: Whether messages advise to set ``dataset.value_range``.
    """
    return Reading(
        preparation.channels,
        preparation.size,
        preparation.background,
        upright=True,
        resize=preparation.resize,
        value_range=preparation.value_range,
        has_range_key=has_range_key,
        finds_damage=True,
    )


class Read(NamedTuple):
    """An image as an array (C, size, size) uint8, and what was done to its values on the way.

    Attributes:
        pixels: The array.
        treatment: Empty for 8-bit images that are neither transparent nor turned. It is part of the digest of the data,
            so that images that were once read in another way have another digest now.
        values: The values in the file.
        has_frames: Whether there are more images in the file, as in an animation, which are left out.
        has_bytes_left: Whether the file has more data than the image needs, as some damaged ones do.
    """

    pixels: Bytes
    treatment: str
    values: Values
    has_frames: bool = False
    has_bytes_left: bool = False


def open_image(content: bytes, name: str) -> Image.Image:
    """Decode an image file.

    Args:
        content: The bytes of the file.
        name: What messages call it.

    Raises:
        DataError: The file is not an image that Pillow reads, or has more than 64 million pixels.
    """
    return _decoded(content, name).image


def _opened(content: bytes) -> ImageFile.ImageFile:
    with _SETTINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the caller says it
        return Image.open(io.BytesIO(content))


def _decoded(content: bytes, name: str) -> Stored:
    if not content:
        raise DataError(_unreadable(name, "the file is empty"))
    try:
        image = _opened(content)
        if image.width * image.height > _MOST_PIXELS:
            raise DataError(f"{name} has {image.width:,} x {image.height:,} pixels; {_TOO_LARGE}")
        depth = stored_depth(image, name)
        _load_whole(image)
        lower = lower_bits(_opened(content)) if depth == COLOUR else None
    except UnidentifiedImageError as error:
        raise DataError(_unreadable(name, "no known format")) from error
    except Image.DecompressionBombError as error:
        counted = re.search(r"\d+", str(error))  # Pillow names their number first, and its own limit after it
        n_pixels = f"{int(counted[0]):,}" if counted else "far too many"
        raise DataError(f"{name} has {n_pixels} pixels; {_TOO_LARGE}") from error
    except DataError:
        raise
    except Exception as error:  # decoders raise anything on damaged files
        reason = re.sub(r"<_io\.[^>]*>", "the file", str(error)) or type(error).__name__
        raise DataError(_unreadable(name, reason)) from error
    return with_alpha(Stored(image, depth, lower))


def _load_whole(image: ImageFile.ImageFile) -> None:
    """Load an image, and raise OSError if it is truncated, also where other code told Pillow to read such images."""
    with _SETTINGS:
        setting = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            image.load()
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = setting


def read_image(content: bytes, place: str, name: str, reading: Reading) -> Read:
    """Decode an image file, and bring it to the size and number of channels that are asked for.

    Args:
        content: The bytes of the file.
        place: The folder or archive that it is from, for messages.
        name: The name of the file in it.
        reading: How it is read.

    Raises:
        DataError: The file is not an image or is damaged, or its values have no known range.
    """
    label = f"{place}: {name}"
    decoded = _decoded(content, label)
    parts = compressed_parts(content, decoded.image) if reading.finds_damage else []
    if is_cut_short(content, decoded.image, parts):
        raise DataError(_unreadable(label, "the file is damaged, and has no data for a part of the image"))
    try:
        found = _converted(decoded, label, name, reading)
        has_frames = hasattr(decoded.image, "is_animated") and getattr(_opened(content), "is_animated", False)
        has_bytes_left = has_bytes_left_over(content, decoded.image, parts)
        return found._replace(has_frames=has_frames, has_bytes_left=has_bytes_left)
    except DataError:
        raise
    except Exception as error:  # what a damaged file lets Pillow raise
        raise DataError(_unreadable(label, str(error) or type(error).__name__)) from error


def _unreadable(name: str, reason: str) -> str:
    return f"{name} is not an image that can be read: {reason}. Put an intact image in its place, or take it out."


def upright(image: Image.Image) -> Image.Image | None:
    """Return an image turned as its EXIF orientation says; None where it says nothing of turning.

    Args:
        image: The image.
    """
    return ImageOps.exif_transpose(image) if image.getexif().get(_ORIENTATION, 1) in range(2, 9) else None


def _converted(stored: Stored, label: str, name: str, reading: Reading) -> Read:
    """``label`` names the image in messages, ``name`` its file for the crop."""
    treatment = []
    if reading.upright and (turned := upright(stored.image)) is not None:
        stored = Stored(turned, stored.depth, None if stored.lower is None else upright(stored.lower))
        treatment.append("turned upright")
    values = measured(stored)
    black_and_white = check_range(values, reading.value_range, label, reading.has_range_key)
    image, change = scaled(stored, black_and_white)
    if change:
        treatment.append(change)
    if (opaque := composited(image, reading.background)) is not None:
        image = opaque
        treatment.append(f"composited on {reading.background}")
    if reading.crop is not None:
        image = reading.crop(name, image)
    return Read(to_array(image, reading.channels, reading.size, reading.resize), ", ".join(treatment), values)


def composited(image: Image.Image, background: Background) -> Image.Image | None:
    """Return an image that is transparent somewhere as an opaque one in colour; None for one that is opaque.

    Args:
        image: The image, of 8 bits.
        background: What shows through.
    """
    if not image.has_transparency_data or image.convert("RGBA").getchannel("A").getextrema() == (255, 255):
        return None
    opaque = Image.new("RGBA", image.size, background)
    opaque.alpha_composite(image.convert("RGBA"))
    return opaque.convert("RGB")


def to_array(image: Image.Image, channels: int, size: int, resize: Resampling) -> Bytes:
    """Convert an 8-bit image to an array (C, size, size) uint8, resized without keeping its proportions.

    Args:
        image: The image; grey, colour or with a palette.
        channels: 1 for grey, 3 for colour.
        size: Height and width of the result, in pixels.
        resize: The filter.
    """
    converted = image.convert("L" if channels == 1 else "RGB")
    if converted.size != (size, size):
        converted = converted.resize((size, size), _FILTERS[resize])
    array = np.asarray(converted, dtype=np.uint8)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def resize_array(array: Bytes, size: int, resize: Resampling) -> Bytes:
    """Resize an image (C, H, W) of 1 or 3 channels to (C, size, size).

    Args:
        array: The image.
        size: Its new height and width.
        resize: The filter of pillow.
    """
    if array.shape[1:] == (size, size):
        return array
    pixels = array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)
    return to_array(Image.fromarray(np.ascontiguousarray(pixels)), array.shape[0], size, resize)
