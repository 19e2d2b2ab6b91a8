"""Finds JPEG files whose compressed data do not fill the image, or go on after it.

JPEG has no checksum. Where data are missing, the decoder goes on with zeros: the rest of the image becomes grey, and
Pillow does not say so. So an image is decoded again with other bytes after its data. If a pixel changes, the decoder
used those bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from PIL import Image, JpegImagePlugin

_OTHER: Final = bytes((number * 89 + 41) % 254 + 1 for number in range(64))
"""Bytes that look like compressed data, without 255, which begins a marker."""
_LAST: Final = 16
"""Some cameras write a few bytes more than the image needs."""
_MARKER: Final = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_RESTARTS: Final = range(0xD0, 0xD8)
_ALONE: Final = (0x01, *_RESTARTS, 0xD8)
"""Markers without a length."""
_END, _SCAN = 0xD9, 0xDA
_ARITHMETIC: Final = (0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
"""Frames of arithmetic coding, whose data may leave out zeros at the end."""


class JpegPart(NamedTuple):
    """Compressed data up to a marker: from ``content[start]`` to before ``content[end]``."""

    start: int
    end: int
    next_marker: int


def is_cut_short(content: bytes, image: Image.Image, parts: Sequence[JpegPart]) -> bool:
    """Return whether an image has pixels for which its JPEG file has no data.

    Some files have numbered marks between the parts of their data. If a number is missing, so is a part.

    Args:
        content: The bytes of the file.
        image: The image in it, loaded.
        parts: Its compressed data, of :func:`compressed_parts`; if it has none, False is returned.
    """
    if not _is_numbered(parts):
        return True
    return bool(parts) and not _gives(_replaced(content, parts, 0), image)


def has_bytes_left_over(content: bytes, image: Image.Image, parts: Sequence[JpegPart]) -> bool:
    """Return whether a JPEG file has more compressed data than its image needs.

    It can be told only where all data are in one part, and the image has more than one colour.

    Args:
        content: The bytes of the file.
        image: The image in it, loaded.
        parts: Its compressed data, of :func:`compressed_parts`; if it has none, False is returned.
    """
    if len(parts) != 1 or image.convert("RGB").getcolors(1):
        return False
    return _gives(_replaced(content, parts, _LAST), image)


def compressed_parts(content: bytes, image: Image.Image) -> list[JpegPart]:
    """Return the parts of the compressed data of a JPEG; none where they cannot be checked, or it is not a JPEG.

    Args:
        content: The bytes of the file.
        image: The image in it.
    """
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return []
    found: list[JpegPart] = []
    marker = _MARKER.search(content)
    while marker and (kind := marker[1][0]) != _END:
        place = marker.end()
        if kind in _ARITHMETIC:
            return []
        if kind not in _ALONE:
            place += int.from_bytes(content[place : place + 2], "big")
        marker = _MARKER.search(content, place)
        if marker and (kind == _SCAN or (kind in _RESTARTS and found)):
            found.append(JpegPart(place, marker.start(), marker[1][0]))
    return found


def _is_numbered(parts: Sequence[JpegPart]) -> bool:
    """Whether restart markers count from 0 to 7, again and again, in each scan."""
    number = 0
    for kind in (part.next_marker for part in parts):
        if kind not in _RESTARTS:
            number = 0
        elif kind != _RESTARTS[number % len(_RESTARTS)]:
            return False
        else:
            number += 1
    return True


def _replaced(content: bytes, parts: Sequence[JpegPart], n_last: int) -> bytes:
    """``content`` with other bytes after each part, in place of its last ``n_last``."""
    pieces, place = [], 0
    for start, end, _ in parts:
        pieces += [content[place : max(start, end - n_last)].rstrip(b"\xff"), _OTHER]
        place = end
    return b"".join([*pieces, content[place:]])


def _gives(content: bytes, image: Image.Image) -> bool:
    """Whether a JPEG file is decoded to the pixels of an image."""
    try:
        with Image.open(io.BytesIO(content)) as other:
            return other.tobytes() == image.tobytes()
    except Exception:  # decoders raise anything on damaged files
        return False
