"""Which drawings are left out: copies of another family's, and those that stand for several characters."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from metaexp.data.files.images import Bytes

EQUAL: Final = 0.05
"""Two families draw the same outline where their drawings differ by less of their ink than this."""
_BOX: Final = 12
"""An image that this many characters of a family share is not a letter, but the box for missing ones."""


def one_character_each(drawings: Mapping[int, Bytes]) -> tuple[dict[int, Bytes], set[int]]:
    """Keep, of the characters that a family draws alike, the first: a Latin A, and not the Greek and Cyrillic one.

    Args:
        drawings: Code point -> the family's drawing.

    Returns:
        Those that are kept, and the code points of the others.
    """
    digests = {code: hashlib.sha256(drawn.tobytes()).digest() for code, drawn in drawings.items()}
    times, seen, kept = Counter(digests.values()), set(), {}
    for code in sorted(drawings):
        digest = digests[code]
        if times[digest] < _BOX and digest not in seen:
            kept[code] = drawings[code]
        seen.add(digest)
    return kept, set(drawings) - set(kept)


def copies(images: Sequence[Bytes]) -> list[int]:
    """Return the places of drawings of one character that are as good as an earlier one.

    Args:
        images: The drawings (H, W) uint8 of different families, small, 0 for ink.
    """
    if not images:
        return []
    ink = 1.0 - np.stack(images).reshape(len(images), -1).astype(np.float32) / 255.0  # (n, H * W)
    amount = ink.sum(1)
    kept: list[int] = []
    found = []
    for i in range(len(ink)):
        difference = np.abs(ink[kept] - ink[i]).sum(1)
        if (difference < EQUAL * np.maximum(amount[kept], amount[i])).any():
            found.append(i)
        else:
            kept.append(i)
    return found
