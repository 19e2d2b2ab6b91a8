"""An image of too many pixels is refused in our words, before it is decoded and without Pillow's warnings."""

from __future__ import annotations

import struct
import warnings
import zlib

import pytest

from metaexp.core.errors import DataError
from metaexp.data.files.images import open_image


def png(width: int, height: int) -> bytes:
    """A PNG file that says its size, and has no pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("side", "message"),
    [
        (9_000, "big.png has 9,000 x 9,000 pixels; 64,000,000 at most are read. Make it smaller, or take it out"),
        (12_000, "big.png has 12,000 x 12,000 pixels; 64,000,000 at most are read. Make it smaller, or take it out"),
        (30_000, "big.png has 900,000,000 pixels; 64,000,000 at most are read. Make it smaller, or take it out"),
    ],
)
def test_too_many_pixels_are_refused(side: int, message: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=message):
            open_image(png(side, side), "big.png")


def test_a_damaged_image_of_usual_size_is_said_to_be_damaged() -> None:
    with pytest.raises(DataError, match="is not an image that can be read"):
        open_image(png(8, 8), "small.png")
