"""The choices that turn the same raw data into different numbers. Importing this module does not import torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from metaexp.core.errors import ConfigError
from metaexp.core.fields import Fraction, NonNegativeInt
from metaexp.core.shapes import Split

RotationKind = Literal["none", "classes", "per_class", "per_episode"]
RotationPlace = Literal["train", "all"]
Normalisation = list[float] | list[list[float]]
"""[mean, std] of all channels, or [means, stds] with one for each channel."""


class Origin(NamedTuple):
    """Where examples come from.

    Attributes:
        name: What messages call the dataset.
        digest: SHA-256 (hex) over the raw data before any preprocessing, so that runs with different preprocessing can
            still be seen to use the same drawings.
        preparation: What was done to the raw data to get the examples (size, resampling, ...), JSON values.
    """

    name: str
    digest: str
    preparation: Mapping[str, Any] = {}


class Pixels(NamedTuple):
    """How stored bytes become float32: value / 255, or 1 - value / 255; then (value - mean) / std per channel.

    Attributes:
        invert: Whether it is 1 - value / 255.
        mean: One number for all channels, one for each channel, or None for neither.
        std: As ``mean``.
    """

    invert: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def span(self) -> tuple[float, float]:
        """Return the smallest and the largest float that a byte can become."""
        ends = [(v - m) / s for v in (0, 1) for m, s in zip(self.mean or (0.0,), self.std or (1.0,), strict=True)]
        return min(ends), max(ends)

    def format(self) -> str:
        """Return the keys of a dataset that give this."""
        numbers = "null" if self.mean is None or self.std is None else f"[{_join(self.mean)}, {_join(self.std)}]"
        return f"dataset.invert={str(self.invert).lower()}, dataset.normalise={numbers}"


class ImagePreparation(NamedTuple):
    """How a dataset brings image files to what a network sees, so that new images can be prepared in the same way.

    Attributes:
        pixels: How bytes become float32.
        channels: 1 for grey, 3 for colour; 0 where the dataset reads no image files.
        size: Height and width in pixels; 0 where the dataset reads no image files.
        resize: The filter.
        background: What shows through where an image is transparent.
        value_range: The stored values that become black and white; None for those of the depth of each image.
    """

    pixels: Pixels = Pixels()
    channels: int = 0
    size: int = 0
    resize: Literal["nearest", "lanczos"] = "lanczos"
    background: Literal["white", "black"] = "white"
    value_range: tuple[float, float] | None = None

    def extremes(self) -> tuple[Sequence[float], Sequence[float]]:
        """Return the floats that the background becomes, per channel, and those of the opposite of black and white."""
        is_one = (self.background == "white") != self.pixels.invert
        mean, std = self.pixels.mean or (0.0,), self.pixels.std or (1.0,)
        background, opposite = ([(v - m) / s for m, s in zip(mean, std, strict=True)] for v in (is_one, not is_one))
        return background, opposite

    def recorded(self) -> dict[str, Any]:
        """Return what is recorded of how the files of one's own images became arrays; only what is not usual."""
        found: dict[str, Any] = {"image_size": self.size, "channels": self.channels, "resize": self.resize}
        if self.background != "white":
            found["background"] = self.background
        if self.value_range is not None:
            found["value_range"] = list(self.value_range)
        return found


class Rotations(NamedTuple):
    """Turns of square images by 0, 90, 180 or 270 degrees, counter-clockwise.

    Attributes:
        kind: ``classes`` makes each turn of a class a class of its own (Vinyals et al., 2016; Prototypical Networks).
            ``per_class`` draws one turn for each class of each task (MAML), ``per_episode`` one for all classes of a
            task (Relation Network). ``none`` turns nothing.
        where: Whether they are turned in the training split only, or in all.
    """

    kind: RotationKind = "none"
    where: RotationPlace = "all"

    def used_in(self, split: Split) -> bool:
        """Return whether examples of ``split`` are turned."""
        return self.kind != "none" and (self.where == "all" or split == "train")

    def classes_per_class(self, split: Split) -> int:
        """Return how many classes of a task each class of ``split`` makes: 4 where turns are classes."""
        return 4 if self.kind == "classes" and self.used_in(split) else 1


@dataclass(frozen=True)
class Augmentation:
    """``augment``: random changes of the images of training episodes, drawn for each image.

    Attributes:
        flip: Mirrors half of the images left to right.
        turn: Turns each by 0, 90, 180 or 270 degrees.
        crop: Pads each side by this many black pixels, and cuts the old size out at a random place.
        brightness: Values are multiplied by a factor between 1 - this and 1 + this.
        contrast: Their distance from the mean grey of the image is multiplied in the same way.
        saturation: Their distance from the grey of the pixel is multiplied in the same way.
        parts: The part of an episode that is changed.
    """

    flip: bool = False
    turn: bool = False
    crop: NonNegativeInt = 0
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = 0.0
    parts: Literal["both", "support", "query"] = "both"

    @property
    def moves(self) -> bool:
        """Whether pixels change their places."""
        return self.flip or self.turn or self.crop > 0

    @property
    def changes_colour(self) -> bool:
        """Whether pixels change their values."""
        return max(self.brightness, self.contrast, self.saturation) > 0

    @property
    def changes(self) -> bool:
        """Whether anything is changed."""
        return self.moves or self.changes_colour


def normalised_pixels(invert: bool, normalise: Normalisation | None) -> Pixels:
    """Check how pixels are normalised.

    Args:
        invert: Whether 255 becomes 0.0 and 0 becomes 1.0.
        normalise: [mean, std], the same for all channels, or [means, stds] with one for each channel; None for
            neither.

    Raises:
        ConfigError: ``normalise`` is anything else.
    """
    if normalise is None:
        return Pixels(invert)
    numbers = [[float(n) for n in part] if isinstance(part, Sequence) else [float(part)] for part in normalise]
    if (
        len(numbers) != 2
        or len(numbers[0]) != len(numbers[1])
        or not numbers[0]
        or not all(math.isfinite(n) for part in numbers for n in part)
        or min(numbers[1]) <= 0
    ):
        raise ConfigError(
            f"dataset.normalise={normalise} must be null, [mean, std] of values in 0..1, or [means, stds] with one for "
            "each channel, such as [[0.5, 0.5, 0.5], [0.2, 0.2, 0.2]]; each std > 0."
        )
    return Pixels(invert, tuple(numbers[0]), tuple(numbers[1]))


def checked_value_range(value_range: Sequence[float] | None) -> tuple[float, float] | None:
    """Check which stored values are black and white.

    Args:
        value_range: [black, white]; None where the depth of each image decides.

    Raises:
        ConfigError: They are not two finite numbers, the smaller first.
    """
    if value_range is None:
        return None
    numbers = tuple(map(float, value_range))
    if len(numbers) != 2 or not all(map(math.isfinite, numbers)) or numbers[0] >= numbers[1]:
        raise ConfigError(
            f"dataset.value_range={list(value_range)} must be null or [black, white]: the stored values that become "
            "black and white, the smaller first, such as [0, 4095]. For dark strokes on white use dataset.invert."
        )
    return numbers[0], numbers[1]


def _join(values: tuple[float, ...]) -> str:
    """One number, or those of the channels."""
    return f"{values[0]:g}" if len(values) == 1 else f"[{', '.join(f'{value:g}' for value in values)}]"
