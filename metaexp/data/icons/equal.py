"""Which drawings are the same outline as another designer's, or stand for two concepts at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from metaexp.data.files.images import Bytes
from metaexp.data.icons.select import Drawing

EQUAL: Final = 0.05
"""Two drawings are the same outline where they differ by less of their ink than this, as copies and forks do."""
LEAST_INK: Final = 0.005
"""Drawings with less ink than this part of a black square show nothing, as animations do before they start."""


def equal_drawings(concepts: Sequence[Sequence[Drawing]], images: Sequence[Bytes]) -> dict[str, str]:
    """Return the sources of drawings to leave out, each with the reason: ``blank``, or the source that it equals.

    Of equal ones that with a permissive licence stays, and of these the first. Across families drawings are equal that
    differ by less than :data:`EQUAL`; within one family, and between concepts, only those of the same pixels.

    Args:
        concepts: The drawings of each concept, by rank.
        images: The drawings of each concept as images (n, C, H, W) uint8 on white.
    """
    found: dict[str, str] = {}
    seen: dict[bytes, str] = {}
    kept: dict[int, list[int]] = {}
    order = [(not d.permissive, c, i) for c, of_it in enumerate(concepts) for i, d in enumerate(of_it)]
    for _, c, i in sorted(order):
        drawing, ink = concepts[c][i], _ink(images[c])
        if ink[i].mean() < LEAST_INK:
            found[drawing.source] = "blank"
            continue
        pixels = images[c][i].tobytes()
        if pixels in seen:
            found[drawing.source] = seen[pixels]
            continue
        others = [k for k in kept.get(c, ()) if concepts[c][k].family != drawing.family]
        twin = next((k for k in others if difference(ink[i], ink[k]) < EQUAL), None)
        if twin is not None:
            found[drawing.source] = concepts[c][twin].source
            continue
        seen[pixels] = drawing.source
        kept.setdefault(c, []).append(i)
    return found


def difference(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Return by how much of the larger one's ink two drawings differ: 0 for the same, up to 2.

    Args:
        first: The ink of a drawing, 0 to 1.
        second: The ink of another, of the same shape.
    """
    return float(np.abs(first - second).sum() / max(first.sum(), second.sum(), 1e-9))


def _ink(images: Bytes) -> npt.NDArray[Any]:
    return 1.0 - images.astype(np.float32) / 255.0
