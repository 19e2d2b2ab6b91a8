"""The choices that turn the same raw data into different numbers. Importing this module does not import torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from metaexp.core.errors import ConfigError
from metaexp.core.shapes import Split

RotationKind = Literal["none", "classes", "per_class", "per_episode"]
RotationPlace = Literal["train", "all"]


class Origin(NamedTuple):
    """Where examples come from.

    name: of the dataset, as messages call it. digest: SHA-256 (hex) over the raw data, whatever is then made
    of it, so that runs with different conventions can still be seen to use the same drawings.
    preparation: what was done to the raw data to get the examples (size, resampling, ...), JSON values.
    """

    name: str
    digest: str
    preparation: Mapping[str, Any] = {}


class Pixels(NamedTuple):
    """How stored bytes become float32: value / 255, or 1 - value / 255; then (value - mean) / std per channel.

    mean, std: one number for all channels, one per channel, or None for neither.
    """

    invert: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


class Rotations(NamedTuple):
    """Turns of square images by 0, 90, 180 or 270 degrees, counter-clockwise.

    kind: ``classes``: each turn of a class is a class of its own (Vinyals et al., 2016; Prototypical Networks).
    ``per_class``: one turn is drawn for each class of each task (MAML). ``per_episode``: one for all classes of
    a task (Relation Network). ``none``. where: in the training split only, or in all.
    """

    kind: RotationKind = "none"
    where: RotationPlace = "all"

    def used_in(self, split: Split) -> bool:
        """Whether examples of ``split`` are turned."""
        return self.kind != "none" and (self.where == "all" or split == "train")

    def classes_per_class(self, split: Split) -> int:
        """How many classes of a task each class of ``split`` makes: 4 where turns are classes."""
        return 4 if self.kind == "classes" and self.used_in(split) else 1


def normalised_pixels(invert: bool, normalise: list[float] | None) -> Pixels:
    """Pixels with ``normalise`` = [mean, std], the same for all channels, or null. Raises ConfigError for others."""
    if normalise is None:
        return Pixels(invert)
    numbers = [float(n) for n in normalise]
    if len(numbers) != 2 or not all(map(math.isfinite, numbers)) or numbers[1] <= 0:
        raise ConfigError(f"dataset.normalise={normalise} must be null or [mean, std] of values in 0..1, with std > 0.")
    return Pixels(invert, (numbers[0],), (numbers[1],))
