"""Icons and emoji: the same concepts drawn by many designers. Importing this module does not import torch.

The drawings are those of the npm package @iconify/json, some 240 published icon sets with the licence of each. A class
is a concept, such as ``calendar`` or the emoji of a cat; its examples are one drawing by each of many designers. So the
two are to icons what Omniglot is to characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from metaexp.core.errors import ConfigError, DataError
from metaexp.core.fields import PositiveInt
from metaexp.core.shapes import Capacity, Split
from metaexp.data.base import Dataset, Progress
from metaexp.data.classification.class_ids import ids_of_names
from metaexp.data.classification.preprocessing import ImagePreparation, Normalisation, Origin, Pixels, normalised_pixels
from metaexp.data.icons.archive import VERSION, archive_here, published
from metaexp.data.icons.lists import capacity, check_least, classes
from metaexp.data.icons.sets import Kind, check_family
from metaexp.data.inventory.card import Card
from metaexp.data.inventory.sources import SourceFile, Sources, computed, to_fetch
from metaexp.data.stand_in.benchmark import stand_in as make_stand_in

if TYPE_CHECKING:
    from metaexp.data.classification.class_dataset import ClassDataset
    from metaexp.data.icons.prepare import Drawn

_LEAST_OTHERS: Final = 5
"""Drawings by others in a test class of the designer who is left out: enough for 5 shots."""


class _Drawings(Dataset):
    """What :class:`Icons` and :class:`Emoji` share."""

    kind = "classification"
    card = Card(
        f"npm's @iconify/json {VERSION}: github.com/iconify/icon-sets",
        "Each set has its own; permissive ones alone by default. They are listed in docs/icons-and-emoji.md.",
    )
    reads_cache = True
    drawn: Kind
    channels: int

    def __init__(
        self,
        licences: Literal["permissive", "all"],
        designers: PositiveInt,
        split: Literal["random", "category"],
        leave_out: str | None,
        image_size: PositiveInt,
        pixels: Pixels,
        stand_in: bool,
        stand_in_images: int | None,
        usual: int,
        grey: bool = False,
    ) -> None:
        check_least(self.drawn, split, licences, designers)
        check_family(self.drawn, leave_out)
        self.licences = licences
        self.designers = designers
        self.split = split
        self.leave_out = leave_out
        self.image_size = image_size
        self.pixels = pixels
        self.equal_classes = stand_in
        self.grey = grey
        self.channels = 1 if grey else self.channels
        self.stand_in = make_stand_in(self.drawn, stand_in, stand_in_images, image_size, self.channels, usual)
        if stand_in and leave_out is not None:
            raise ConfigError(
                f"dataset.leave_out={leave_out} needs drawings by designers, and dataset.stand_in=true has none. Leave "
                "one of the two out."
            )

    def capacity(self) -> Mapping[Split, Capacity] | None:
        """Return the classes of each split and the drawings of the smallest; None where a designer is left out."""
        chosen = self._classes()
        if self.stand_in is not None:
            return self.stand_in.capacity({split: list(names) for split, names in chosen.items()})
        return None if self.leave_out is not None else capacity(chosen)

    def class_ids_in(self, folder: Path) -> Mapping[Split, Mapping[str, frozenset[str]]] | None:
        """Return the identifiers of the chosen concepts' names; None where a designer is left out."""
        if self.leave_out is not None:
            return None
        chosen = {split: list(names) for split, names in self._classes().items()}
        return ids_of_names(self.stand_in.name if self.stand_in else self.drawn, chosen)

    def image_preparation(self) -> ImagePreparation:
        """Return how images become examples."""
        return ImagePreparation(self.pixels, self.channels, self.image_size)

    def sources(self, folder: Path) -> Sources:
        """Return where the archive is."""
        if self.stand_in is not None:
            return computed(f"stand_in_{self.stand_in.benchmark}")
        path = archive_here(folder)
        if path is None:
            return to_fetch("104 MB", self.drawn)
        return Sources("fetched", (SourceFile(path, published()),), cache=self.drawn)

    def load(self, folder: Path, progress: Progress) -> ClassDataset:
        """Find or fetch the archive and draw the icons; from the cache the second time."""
        from metaexp.data.classification.class_dataset import ClassDataset
        from metaexp.data.icons.leave_out import LeftOutDesigner
        from metaexp.data.icons.prepare import draw, in_grey

        chosen = {split: list(names) for split, names in self._classes().items()}
        if self.stand_in is not None:
            return self.stand_in.load(chosen, folder, progress, self.pixels)
        found = draw(self.drawn, self.licences, self.image_size, folder, progress)
        preparation: dict[str, Any] = {"image_size": self.image_size, "licences": self.licences}
        if self.grey:
            preparation["grey"] = True
        images = in_grey(found.images) if self.grey else found.images
        if self.leave_out is None:
            order = [
                row for split in chosen for c in chosen[split] for of_it in found.rows[c].values() for row in of_it
            ]
            sizes = {c: sum(map(len, found.rows[c].values())) for split in chosen for c in chosen[split]}
            origin = Origin(self.drawn, found.digest, preparation)
            return ClassDataset(origin, images[order], sizes, chosen, self.pixels)
        rows = _without(self.leave_out, found, chosen)
        origin = Origin(self.drawn, found.digest, {**preparation, "leave_out": self.leave_out})
        order = [row for of_it in rows.rows.values() for row in of_it]
        sizes = {concept: len(of_it) for concept, of_it in rows.rows.items()}
        dataset = LeftOutDesigner(origin, images[order], sizes, rows.classes, self.pixels)
        dataset.n_last = rows.n_last
        return dataset

    def _classes(self) -> dict[Split, dict[str, int]]:
        return classes(self.drawn, self.split, self.licences, self.designers)


class Icons(_Drawings):
    """Icons of one colour, a drawing by each designer."""

    drawn = "icons"
    channels = 1

    def __init__(
        self,
        licences: Literal["permissive", "all"],
        designers: PositiveInt,
        split: Literal["random", "category"],
        leave_out: str | None,
        image_size: PositiveInt,
        invert: bool,
        normalise: Normalisation | None,
        stand_in: bool = False,
        stand_in_images: PositiveInt | None = None,
    ) -> None:
        """Describe the icons.

        Args:
            licences: Whether only sets with a permissive licence are used.
            designers: The number of designers who must have drawn a concept, at least 10.
            split: Whether concepts are divided at random, or so that those with a word in common stay together.
            leave_out: A designer whose drawings are in no training, and are the queries of the test; None for nobody.
            image_size: Height and width in pixels.
            invert: Whether ink becomes 1.0 and paper 0.0.
            normalise: [mean, std], subtracted and divided; None for neither.
            stand_in: Whether made-up characters take the place of the real icons; records say so.
            stand_in_images: How many drawings of each; None for 20.
        """
        pixels = normalised_pixels(invert, normalise)
        super().__init__(licences, designers, split, leave_out, image_size, pixels, stand_in, stand_in_images, usual=20)


class Emoji(_Drawings):
    """Emoji in colour, without skin tones: of each, the drawings by all sets of each designer."""

    drawn = "emoji"
    channels = 3

    def __init__(
        self,
        licences: Literal["permissive", "all"],
        designers: PositiveInt,
        split: Literal["random", "category"],
        leave_out: str | None,
        image_size: PositiveInt,
        normalise: Normalisation | None,
        stand_in: bool = False,
        stand_in_images: PositiveInt | None = None,
        grey: bool = False,
    ) -> None:
        """Describe the emoji.

        Args:
            licences: Whether only sets with a permissive licence are used.
            designers: The number of designers who must have drawn an emoji, at least 4.
            split: Whether emoji are divided at random, or by Unicode's categories.
            leave_out: A designer whose drawings are in no training, and are the queries of the test; None for nobody.
            image_size: Height and width in pixels.
            normalise: [mean, std], subtracted and divided in all channels, or [means, stds] with one for each
                channel; None for neither.
            stand_in: Whether made-up images take the place of the real ones; records say so.
            stand_in_images: How many of each class; None for 10.
            grey: Whether they are in grey, with one channel, as a mixture with characters needs them.
        """
        pixels = normalised_pixels(False, normalise)
        super().__init__(
            licences, designers, split, leave_out, image_size, pixels, stand_in, stand_in_images, usual=10, grey=grey
        )


class _Rows(NamedTuple):
    """Rows of each concept, the classes of each split, and the drawings of the left-out designer in a test class."""

    rows: dict[str, list[int]]
    classes: dict[Split, list[str]]
    n_last: int


def _without(designer: str, found: Drawn, chosen: Mapping[Split, Sequence[str]]) -> _Rows:
    """The rows without a designer. The test classes are those that this designer drew, and end with these drawings."""
    rows = {
        concept: [row for family, of_it in found.rows[concept].items() if family != designer for row in of_it]
        for names in chosen.values()
        for concept in names
    }
    test = [c for c in chosen["test"] if designer in found.rows[c] and len(rows[c]) >= _LEAST_OTHERS]
    if not test:
        raise DataError(f"dataset.leave_out={designer}: this designer drew none of the classes of the test split.")
    n_last = min(len(found.rows[concept][designer]) for concept in test)
    for concept in test:
        rows[concept] += found.rows[concept][designer][:n_last]
    kept: dict[Split, list[str]] = {"train": list(chosen["train"]), "val": list(chosen["val"]), "test": test}
    named = {concept for names in kept.values() for concept in names}
    return _Rows({concept: of_it for concept, of_it in rows.items() if concept in named}, kept, n_last)
