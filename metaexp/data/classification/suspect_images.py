"""Images in arrays whose values or axes are probably not what they are read as."""

from __future__ import annotations

import json
from typing import Final

from torch import Tensor

from metaexp.data.base import Progress
from metaexp.data.mapped.receipts import compute_once

_DARK: Final = 255 / 4
"""Bytes of at most this use fewer than 7 bits."""
_LARGE: Final = 10.0
"""Normalised images have smaller values, and bytes that became floats have larger ones."""
COLOURS: Final = (1, 3)


def warn_of_suspect_images(examples: Tensor, where: str, progress: Progress, version: str | None = None) -> None:
    """Say when all images of 8 bits are dark, floats have the values of bytes, or channels are probably last.

    Args:
        examples: (B, C, H, W) uint8, or (B, ...) float32. Only images, of four dimensions, are checked.
        where: What messages call the file or the class that they are from.
        progress: Receives a line for each.
        version: The version of :class:`~metaexp.data.cache.prepared.Prepared`: the extremes of a mapped file are kept.
    """
    if examples.dim() != 4 or not len(examples):
        return
    channels, height, width = examples.shape[1:]
    if channels == height and width < height and channels not in COLOURS:
        progress(
            f"Warning: images of {where} are read as {channels} channels of {height}x{width}. If they are "
            f"{channels}x{height} with {width} channels, put the channels first: x.transpose(0, 3, 1, 2)."
        )
    lowest, highest = json.loads(compute_once(version, "extremes", lambda: _extremes(examples)))
    if not examples.is_floating_point() and highest <= _DARK:
        advice = f" Multiply them by {255 / highest:.4g} for the whole range." if highest else ""
        progress(f"Warning: no value of the images of {where} is above {highest:g} of 255: all are dark.{advice}")
    elif examples.is_floating_point() and channels in COLOURS and highest > _LARGE:
        progress(
            f"Warning: images of {where} are floats from {lowest:.4g} to {highest:.4g}, and delivered as they are. "
            "Networks learn badly from such numbers. If they are from 0 to 255, save them as uint8; or scale them."
        )


def _extremes(examples: Tensor) -> bytes:
    lowest, highest = examples.aminmax()
    return json.dumps([float(lowest), float(highest)]).encode()
