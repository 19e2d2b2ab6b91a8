"""A dataset of small images in folders, as tests describe it."""

from __future__ import annotations

from metaexp.data.image_folder import ImageFolder

SPLIT_AND_PIXELS = {
    "fractions": [0.5, 0.25, 0.25],
    "split_seed": 0,
    "invert": False,
    "normalise": None,
    "rotations": "none",
    "rotations_in": "all",
}
"""What each dataset of one's own images is given: half of the classes for training, images as they are."""


def image_folder(**changes: object) -> ImageFolder:
    """The images of the folder ``images``, at 8 x 8 pixels, half of the classes for training."""
    arguments = {"folder": "images", "image_size": 8, "channels": 3, **SPLIT_AND_PIXELS}
    return ImageFolder(**{**arguments, **changes})
