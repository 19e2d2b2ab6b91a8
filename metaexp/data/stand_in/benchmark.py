"""A benchmark's stand-in: made-up images of the same shapes, classes and splits. Importing it imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from metaexp.core.counted import counted
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import SPLITS, Capacity, Split
from metaexp.data.base import Progress
from metaexp.data.classification.preprocessing import Origin, Pixels, Rotations

if TYPE_CHECKING:
    from torch import Tensor

    from metaexp.data.cache.prepared import Prepared
    from metaexp.data.classification.class_dataset import ClassDataset

IMAGES: Final = 40
"""Images of a class: enough for every task of the shipped experiments, and drawn in seconds."""
_CHARACTERS: Final = 1623
"""The seed of the made-up characters, which differ from those of ``dataset=glyphs``."""
UNTIL_THEN: Final = "Until then dataset.stand_in=true takes made-up images of the same shapes and classes."
"""Ends the message that a benchmark's files are not there."""


class StandIn(NamedTuple):
    """Made-up images in place of a benchmark's.

    Attributes:
        benchmark: The name of the dataset that they stand in for.
        image_size: Height and width in pixels.
        per_class: Images of each class.
        channels: 3 for colour; 1 for characters of two grey levels, ink 0 on paper 255.
    """

    benchmark: str
    image_size: int
    per_class: int
    channels: int = 3

    @property
    def name(self) -> str:
        """What records and messages call it: never as the benchmark itself."""
        return f"{self.benchmark} (stand-in)"

    def capacity(self, splits: Mapping[Split, Sequence[str]], turns: Rotations | None = None) -> dict[Split, Capacity]:
        """Return the classes and images of each split, turned classes counted.

        Args:
            splits: Names of the classes of each split.
            turns: How turned images become classes; not at all by default.
        """
        return {
            split: Capacity(len(splits[split]) * (turns or Rotations()).classes_per_class(split), self.per_class)
            for split in SPLITS
        }

    def load(
        self,
        splits: Mapping[Split, Sequence[str]],
        folder: Path,
        progress: Progress,
        pixels: Pixels,
        rotations: Rotations | None = None,
    ) -> ClassDataset:
        """Draw the images of all classes; from the cache the second time.

        Args:
            splits: The classes of each split, as the benchmark has them.
            folder: ``paths.data``.
            progress: Receives a warning that these are not real images.
            pixels: How bytes become float32.
            rotations: How images are turned.
        """
        from metaexp.data.classification.class_dataset import ClassDataset

        origin, prepared = self.prepared(splits, folder, progress)
        return ClassDataset(origin, prepared.examples, prepared.classes, splits, pixels, rotations or Rotations())

    def prepared(
        self, splits: Mapping[Split, Sequence[str]], folder: Path, progress: Progress
    ) -> tuple[Origin, Prepared]:
        """Return where the images of all classes come from, and the images; from the cache the second time.

        Args:
            splits: The classes of each split, as the benchmark has them.
            folder: ``paths.data``.
            progress: Receives a warning that these are not real images.
        """
        from metaexp.data.cache.prepared import cached, checksum_of
        from metaexp.data.stand_in.draw import VERSION

        progress(
            f"Warning: dataset.stand_in=true: made-up images in place of {self.benchmark}. The results say nothing "
            f"about {self.benchmark}."
        )
        names = sorted({name for split in SPLITS for name in splits[split]})
        preparation = {"image_size": self.image_size, "stand_in": VERSION}
        key = {**preparation, "channels": self.channels, "classes": _digest(names), "per_class": self.per_class}
        prepared = cached(
            f"stand_in_{self.benchmark}",
            key,
            folder,
            lambda: self._prepare(names, progress),
            progress,
            digest_of=lambda images, _: checksum_of(images),
            shape=(self.channels, self.image_size, self.image_size),
        )
        return Origin(self.name, prepared.digest, preparation), prepared

    def _prepare(self, names: list[str], progress: Progress) -> Prepared:
        from metaexp.data.cache.prepared import Prepared, checksum_of

        progress(
            f"Drawing {len(names)} made-up classes in place of {self.benchmark}, "
            f"{counted(self.per_class, 'image')} of each."
        )
        if self.channels == 1:
            images = _characters(len(names), self.per_class, self.image_size)
        else:
            images = _figures(names, self.per_class, self.image_size)
        return Prepared(images, dict.fromkeys(names, self.per_class), checksum_of(images))


def stand_in(
    benchmark: str, wanted: bool, images: int | None, image_size: int, channels: int = 3, usual: int = IMAGES
) -> StandIn | None:
    """Return the stand-in that a dataset's arguments ask for, or None.

    Args:
        benchmark: The name of the dataset.
        wanted: ``dataset.stand_in``.
        images: ``dataset.stand_in_images``: of each class; None for the usual number.
        image_size: Height and width in pixels.
        channels: 3 for colour; 1 for characters.
        usual: The usual number of images of a class.

    Raises:
        ConfigError: A number of images is given without a stand-in.
    """
    if wanted:
        return StandIn(benchmark, image_size, images or usual, channels)
    if images is not None:
        raise ConfigError(
            f"dataset.stand_in_images={images} counts made-up images, and dataset.stand_in=false asks for none. Set "
            "dataset.stand_in=true, or leave dataset.stand_in_images out."
        )
    return None


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(names).encode()).hexdigest()


def _figures(names: Sequence[str], per_class: int, size: int) -> Tensor:
    """Colour images of the classes, (B, 3, size, size) uint8."""
    import os
    from concurrent.futures import ThreadPoolExecutor

    import torch

    from metaexp.data.mapped.example_file import new_examples
    from metaexp.data.stand_in.draw import draw_class

    images = new_examples((len(names) * per_class, 3, size, size), dict.fromkeys(names, per_class))

    def draw(number: int) -> None:
        images[number * per_class : (number + 1) * per_class] = draw_class(names[number], per_class, size)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        list(pool.map(draw, range(len(names))))
    return torch.from_numpy(images)


def _characters(n_classes: int, per_class: int, size: int) -> Tensor:
    """Characters as the files of Omniglot have them, (B, 1, size, size) uint8: ink 0 on paper 255."""
    import torch

    from metaexp.data.files.images import resize_array
    from metaexp.data.glyph.drawing import draw_classes

    parts: dict[Split, int] = {"train": n_classes * 10 // 16 + 1, "val": n_classes * 2 // 16 + 1, "test": n_classes}
    parts["test"] -= parts["train"] + parts["val"]
    inked = draw_classes(_CHARACTERS, parts, per_class) >= 128
    images = (~inked).to(torch.uint8) * 255
    if images.shape[-1] == size:
        return images
    return torch.stack([torch.from_numpy(resize_array(image, size, "nearest").copy()) for image in images.numpy()])
