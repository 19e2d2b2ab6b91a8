"""Draws characters of a font with Pillow, large, in the middle of a square."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from PIL import Image, ImageFont

from metaexp.data.files.images import Bytes
from metaexp.data.font.faces import Face

SIDE: Final = 168
"""Height and width of the square: six times 28, twice 84."""
VERSION: Final = 1
"""The version of the drawings. Raise it whenever a pixel changes, or old caches are used."""
_EM: Final = 140
_LARGEST: Final = 156
_LEAST_INK: Final = 0.002
"""Drawings with less ink than this part of a black square show nothing."""


def draw(face: Face, codes: Iterable[int]) -> dict[int, Bytes]:
    """Draw characters, each in the middle; one that is too large is made to fit.

    Args:
        face: The font.
        codes: Code points. Those that its character map does not have, and those that show nothing, are left out.

    Returns:
        Code point -> (168, 168) uint8, 0 for ink and 255 for paper.

    Raises:
        OSError: Pillow cannot read the font.
    """
    font = ImageFont.truetype(face.file.path, _EM, face.number, layout_engine=ImageFont.Layout.BASIC)
    found = {}
    for code in codes:
        if code not in face.characters:
            continue
        try:
            drawn = _centred(font, chr(code))
        except (OSError, ValueError):  # a broken outline
            continue
        if drawn is not None:
            found[code] = drawn
    return found


def _centred(font: ImageFont.FreeTypeFont, character: str) -> Bytes | None:
    """One character; None where it is blank."""
    left, top, right, bottom = font.getbbox(character)
    if max(right - left, bottom - top) > 20 * _EM:
        return None
    mask = font.getmask(character, "L")
    if 0 in mask.size:
        return None
    whole = Image.frombytes("L", mask.size, bytes(mask))
    box = whole.getbbox()
    if box is None:
        return None
    ink = whole.crop(box)
    if max(ink.size) > _LARGEST:
        scale = _LARGEST / max(ink.size)
        size = max(1, round(ink.width * scale)), max(1, round(ink.height * scale))
        ink = ink.resize(size, Image.Resampling.LANCZOS)
    square = Image.new("L", (SIDE, SIDE), 0)
    square.paste(ink, ((SIDE - ink.width) // 2, (SIDE - ink.height) // 2))
    array = np.asarray(square)
    return 255 - array if array.mean() >= 255 * _LEAST_INK else None
