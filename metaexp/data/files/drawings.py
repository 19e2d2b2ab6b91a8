"""Omniglot's drawings of 105x105 pixels of 1 bit, brought to size. Importing this module does not import torch."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Literal

from metaexp.core.errors import DataError

if TYPE_CHECKING:
    from metaexp.data.files.images import Bytes

SIDE: Final = 105
DRAWINGS: Final = 20
"""Drawings of each character."""
_UNPACKED_AT_ONCE: Final = 1000


def resized(packed: Bytes, size: int, resize: Literal["nearest", "lanczos"]) -> Bytes:
    """Unpack drawings and bring them to size.

    Args:
        packed: (B, 105, 14), see :func:`pixel_digest`.
        size: Height and width of the result, in pixels.
        resize: ``nearest`` is what the authors' scripts of MAML, Reptile and Prototypical Networks really do. They ask
            Pillow for Lanczos on images of 1 bit, for which it takes the nearest pixel instead: the result has two
            grey levels. ``lanczos`` works on 8 bits, as in ports that convert to grey first.

    Returns:
        (B, 1, size, size) uint8, 0 for ink and 255 for paper.
    """
    import numpy as np

    from metaexp.data.files.images import resize_array

    out = np.empty((len(packed), 1, size, size), np.uint8)
    centres = ((np.arange(size) + 0.5) * SIDE / size).astype(np.int64)
    for start in range(0, len(packed), _UNPACKED_AT_ONCE):
        drawings = np.unpackbits(packed[start : start + _UNPACKED_AT_ONCE], axis=-1, count=SIDE) * np.uint8(255)
        if resize == "nearest":
            out[start : start + len(drawings), 0] = drawings[:, centres[:, None], centres]
        else:
            for i, drawing in enumerate(drawings, start):
                out[i] = resize_array(drawing[None], size, resize)
    return out


def packed_drawing(content: bytes, name: str) -> Bytes:
    """Return the pixels (105, 14) of one PNG, 1 bit each, rows padded with zeros.

    Args:
        content: The bytes of the file.
        name: What messages call it.

    Raises:
        DataError: The file is not an image of 105x105 pixels.
    """
    import numpy as np
    from PIL import Image

    from metaexp.data.files.images import open_image

    image = open_image(content, name)
    if image.size != (SIDE, SIDE):
        raise DataError(f"{name} is {image.width}x{image.height}; Omniglot's drawings are {SIDE}x{SIDE}.")
    if image.mode != "1":
        image = image.convert("L").convert("1", dither=Image.Dither.NONE)
    return np.frombuffer(image.tobytes(), np.uint8).reshape(SIDE, -1)


def pixel_digest(characters: list[str], packed: Bytes) -> str:
    """Return the SHA-256 (hex) over each character's name and its 20 drawings.

    Args:
        characters: The names, in the order of the drawings.
        packed: (characters * 20, 105, 14): rows of 1 bit a pixel (1 is paper), each padded with zeros to whole bytes.
    """
    digest = hashlib.sha256()
    for i, character in enumerate(characters):
        digest.update(character.encode())
        digest.update(packed[i * DRAWINGS : (i + 1) * DRAWINGS].tobytes())
    return digest.hexdigest()
