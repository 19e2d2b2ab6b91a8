"""Glyphs: a procedural stand-in for handwritten characters, the dataset that is always there.

A class is a made-up character of 1 to 5 pen strokes, an example one drawing of it, 28 x 28 grey. There are as many
classes as asked for, no download, and the same bits on every machine. Nearest neighbour on pixels is right in
about 57 % of 5-way 1-shot tasks (on Omniglot: 44 %), so that there is something to learn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from metaexp.core.fields import NonNegativeInt, PositiveInt
from metaexp.core.shapes import SPLITS, Capacity, Split
from metaexp.data.base import Dataset, Progress
from metaexp.data.classification.class_ids import ids_of_names
from metaexp.data.classification.preprocessing import ImagePreparation, Origin
from metaexp.data.inventory.card import COMPUTED
from metaexp.data.inventory.sources import Sources, computed

if TYPE_CHECKING:
    from metaexp.data.cache.prepared import Prepared
    from metaexp.data.classification.class_dataset import ClassDataset

_VERSION: Final = 2
"""The version of the programs and drawings. Raise it whenever a pixel changes, or old caches are used."""


class Glyphs(Dataset):
    """Classes of made-up characters and drawings of them.

    A class does not depend on the numbers of classes and of drawings: larger numbers add, and no split changes another.
    ``seed`` makes other characters; it is the dataset's own and not the run's.
    """

    kind = "classification"
    card = COMPUTED
    equal_classes = True
    reads_cache = True

    def __init__(
        self,
        train_classes: PositiveInt,
        val_classes: PositiveInt,
        test_classes: PositiveInt,
        per_class: PositiveInt,
        seed: NonNegativeInt,
    ) -> None:
        """Describe the characters.

        Args:
            train_classes: Characters of the training split.
            val_classes: Characters of the validation split.
            test_classes: Characters of the test split.
            per_class: Drawings of each.
            seed: Other seeds give other characters.
        """
        self.n_classes: dict[Split, int] = {"train": train_classes, "val": val_classes, "test": test_classes}
        self.per_class = per_class
        self.seed = seed

    def capacity(self) -> Mapping[Split, Capacity]:
        """Return what was asked for."""
        return {split: Capacity(n, self.per_class) for split, n in self.n_classes.items()}

    def class_ids_in(self, folder: Path) -> Mapping[Split, Mapping[str, frozenset[str]]]:
        """Return the identifiers of the characters' names."""
        return ids_of_names("glyphs", {split: self._names(split) for split in SPLITS})

    def image_preparation(self) -> ImagePreparation:
        """Return how image files become examples: strokes are bright on black."""
        return ImagePreparation(channels=1, size=28, background="black")

    def sources(self, folder: Path) -> Sources:
        """Return that they are drawn here."""
        return computed("glyphs")

    def load(self, folder: Path, progress: Progress) -> ClassDataset:
        """Draw everything, some seconds for 1,500 classes; from the cache the second time."""
        from metaexp.data.cache.prepared import cached, checksum_of
        from metaexp.data.classification.class_dataset import ClassDataset

        preparation = {"classes": self.n_classes, "per_class": self.per_class, "seed": self.seed, "drawing": _VERSION}
        prepared = cached(
            "glyphs",
            preparation,
            folder,
            lambda: self._prepare(progress),
            progress,
            digest_of=lambda images, _: checksum_of(images),
            shape=(1, 28, 28),
        )
        return ClassDataset(
            Origin("glyphs", prepared.digest, {}),
            prepared.examples,
            prepared.classes,
            {split: self._names(split) for split in SPLITS},
        )

    def _names(self, split: Split) -> list[str]:
        return [f"{split}/{number:05d}" for number in range(self.n_classes[split])]

    def _prepare(self, progress: Progress) -> Prepared:
        from metaexp.data.cache.prepared import Prepared
        from metaexp.data.glyph.drawing import draw_classes

        progress(f"Drawing {sum(self.n_classes.values())} glyph classes, {self.per_class} times each.")
        images = draw_classes(self.seed, self.n_classes, self.per_class)
        names = [name for split in SPLITS for name in self._names(split)]
        digest = hashlib.sha256(images.numpy().data).hexdigest()
        return Prepared(images, dict.fromkeys(names, self.per_class), digest)
