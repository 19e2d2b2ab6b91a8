"""Lake's one-shot challenge: 20 fixed runs of 20 characters of one alphabet, drawn by one person and read from another.

Lake, Salakhutdinov & Tenenbaum, "Human-level concept learning through probabilistic program induction", Science 2015;
Lake, Salakhutdinov & Tenenbaum, "The Omniglot challenge: a 3-year progress report", 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from metaexp.core.errors import ConfigError
from metaexp.core.fields import PositiveInt
from metaexp.core.shapes import Capacity, FixedBank, Split
from metaexp.data.base import Progress
from metaexp.data.classification.preprocessing import Normalisation, RotationKind, RotationPlace
from metaexp.data.files.class_lists import class_lists
from metaexp.data.files.drawings import DRAWINGS
from metaexp.data.fixed.episode_file import EpisodeList, Item, read_episodes
from metaexp.data.omniglot import Omniglot

if TYPE_CHECKING:
    from metaexp.data.classification.class_dataset import ClassDataset

_LIST: Final = Path(__file__).parent / "fixed" / "omniglot_challenge.csv"


class OmniglotChallenge(Omniglot):
    """The background set to train and validate on, and the 20 runs as test episodes.

    A run shows 20 characters of an alphabet of the evaluation set, each drawn once by one person, and asks for 20
    drawings of them by another. Each of the images in the authors' ``all_runs.zip`` is a drawing of
    ``images_evaluation.zip``; a packaged list names it, so nothing else is needed. Training and validation characters
    are those of ``dataset=omniglot dataset.split=official``: the alphabets of the background set alone.
    """

    fixed_tests = True

    def __init__(
        self,
        rotations: RotationKind,
        rotations_in: RotationPlace,
        image_size: PositiveInt,
        resize: Literal["nearest", "lanczos"],
        invert: bool,
        normalise: Normalisation | None,
        stand_in: bool = False,
        stand_in_images: PositiveInt | None = None,
    ) -> None:
        """Describe the drawings. Those of the 20 runs are never turned.

        Args:
            rotations: Whether, and how, drawings are turned by multiples of 90 degrees.
            rotations_in: The splits in which they are turned: ``train``, or in validation, too (``all``).
            image_size: Height and width in pixels.
            resize: The filter; see :func:`metaexp.data.files.drawings.resized`.
            invert: Whether ink becomes 1.0 and paper 0.0.
            normalise: [mean, std], subtracted and divided; None for neither.
            stand_in: Whether made-up characters take the place of the real ones; records say so.
            stand_in_images: How many drawings of each; None for 20.

        Raises:
            ConfigError: The made-up drawings are fewer than the runs need.
        """
        super().__init__(
            "official", rotations, rotations_in, image_size, resize, invert, normalise, stand_in, stand_in_images
        )
        needed = 1 + max(_drawing(item) for items in challenge().images().values() for item in items)
        if stand_in_images is not None and stand_in_images < needed:
            raise ConfigError(
                f"dataset.stand_in_images={stand_in_images} is too few: the runs use drawing {needed} of a character. "
                f"Give {needed} or more, or leave it out."
            )

    def capacity(self) -> Mapping[Split, Capacity]:
        """Return the packaged lists' classes; of the evaluation set, those of the runs."""
        found = dict(super().capacity())
        found["test"] = Capacity(len(challenge().images()), found["test"].per_class)
        return found

    def class_ids_in(self, folder: Path) -> Mapping[Split, Mapping[str, frozenset[str]]]:
        """Return the identifiers of the packaged list's names; of the evaluation set, those of the runs."""
        found = super().class_ids_in(folder)
        runs = challenge().images()
        return {**found, "test": {name: ids for name, ids in found["test"].items() if name in runs}}

    def fixed_bank(self, folder: Path | None) -> FixedBank:
        """Return the shape and number of the runs."""
        return FixedBank(challenge().shape, len(challenge().episodes))

    def load(self, folder: Path, progress: Progress) -> ClassDataset:
        """Load the drawings as :class:`Omniglot` does, and look up the runs among them."""
        from metaexp.data.fixed.tasks import FixedTestDataset

        origin, prepared = self.prepared(folder, progress)
        lists = class_lists("omniglot_official")
        images = challenge().images()
        first, row = {}, 0
        for name, size in prepared.classes.items():
            first[name], row = row, row + size
        return FixedTestDataset(
            challenge(),
            {Item(name, image): first[name] + _drawing(image) for name, items in images.items() for image in items},
            origin,
            prepared.examples,
            prepared.classes,
            {"train": lists["train"], "val": lists["val"], "test": tuple(images)},
            self.pixels,
            self.rotations,
        )


@cache
def challenge() -> EpisodeList:
    """Return the 20 runs: classes are ``alphabet/character``, images ``alphabet/character/file``."""
    return read_episodes(_LIST)


def _drawing(image: str) -> int:
    """The number of a drawing among the 20 of its character, from 0: the last two digits of the file's name."""
    number = int(image.removesuffix(".png")[-2:]) - 1
    assert 0 <= number < DRAWINGS, image
    return number
