"""Test episodes of your own: a CSV file that lists the images of each. Importing this module does not import torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from metaexp.core.fields import PositiveInt
from metaexp.core.shapes import Capacity, FixedBank, Split
from metaexp.data.base import Dataset, Progress
from metaexp.data.classification.preprocessing import (
    ImagePreparation,
    Normalisation,
    Origin,
    checked_value_range,
    normalised_pixels,
)
from metaexp.data.files.archives import open_source
from metaexp.data.files.locate import existing_path, named_path
from metaexp.data.fixed.episode_file import EpisodeList, Item, read_episodes
from metaexp.data.inventory.card import OWN_FILE
from metaexp.data.inventory.sources import Sources, looked_for

if TYPE_CHECKING:
    from metaexp.data.cache.prepared import Prepared
    from metaexp.data.classification.class_dataset import ClassDataset

_READING = 5
"""The version of the code that reads files. Raise it if a pixel changes, or if files are refused that were read."""


class FixedEpisodes(Dataset):
    """Episodes that a file lists, to test a finished run on: ``metaexp evaluate RUN dataset=fixed_episodes ...``.

    The file has the columns ``episode, role, class, image``; see :func:`metaexp.data.fixed.episode_file.read_episodes`.
    There is nothing to train on.
    """

    kind = "classification"
    card = OWN_FILE
    fixed_tests = True
    reads_cache = True

    def __init__(
        self,
        file: str,
        folder: str | None,
        image_size: PositiveInt,
        channels: Literal[1, 3],
        invert: bool,
        normalise: Normalisation | None,
        background: Literal["white", "black"] = "white",
        follow_links: bool = False,
        value_range: list[float] | None = None,
    ) -> None:
        """Describe the episodes.

        Args:
            file: The CSV file: absolute, inside ``paths.data``, or beginning with ``~``.
            folder: Where its images are, a folder, zip or tar; None for the folder of the file.
            image_size: Height and width in pixels; proportions are not kept.
            channels: 3 for colour, 1 for grey.
            invert: Whether 255 becomes 0.0 and 0 becomes 1.0, for dark strokes on white paper.
            normalise: [mean, std], subtracted and divided in all channels; None for neither.
            background: What shows through where an image is transparent.
            follow_links: Whether symbolic links to what is outside the folder are followed.
            value_range: [black, white], the stored values that become 0 and 255 in all images. None: 0 and the largest
                value of the depth of an image; 1 for floats.

        Raises:
            ConfigError: ``normalise`` or ``value_range`` are impossible.
        """
        self.file = file
        self.folder = folder
        self.image_size = image_size
        self.channels = channels
        self.pixels = normalised_pixels(invert, normalise)
        self.background = background
        self.follow_links = follow_links
        self.value_range = checked_value_range(value_range)

    def capacity(self) -> None:
        """Return None: only the file tells."""
        return

    def capacity_in(self, folder: Path) -> Mapping[Split, Capacity] | None:
        """Return the classes and images of the test split, from the CSV file alone."""
        sizes = [len(images) for images in self._episodes(folder).images().values()]
        return {"test": Capacity(len(sizes), min(sizes))}

    def fixed_bank(self, folder: Path | None) -> FixedBank | None:
        """Return the shape and number of the episodes."""
        if folder is None:
            return None
        listed = self._episodes(folder)
        return FixedBank(listed.shape, len(listed.episodes))

    def image_preparation(self) -> ImagePreparation:
        """Return how images become examples."""
        return ImagePreparation(
            self.pixels, self.channels, self.image_size, background=self.background, value_range=self.value_range
        )

    def sources(self, folder: Path) -> Sources:
        """Return where the list of episodes and the images are."""

        def find() -> list[Path]:
            self._episodes(folder)
            return [named_path(folder, "dataset.file", self.file), self._images_path(folder)]

        return looked_for(find, "own files", "fixed_episodes")

    def load(self, folder: Path, progress: Progress) -> ClassDataset:
        """Read and resize the images of the episodes; from the cache while no file changes."""
        from metaexp.data.cache.prepared import cached
        from metaexp.data.files.image_tensors import fingerprint
        from metaexp.data.fixed.tasks import FixedTestDataset

        listed, path = self._episodes(folder), self._images_path(folder)
        images = listed.images()
        preparation = self.image_preparation().recorded()
        names = hashlib.sha256(json.dumps(images).encode("utf-8", "surrogateescape")).hexdigest()
        key = {**preparation, "files": fingerprint([path], self.follow_links), "images": names, "reading": _READING}
        shape = (self.channels, self.image_size, self.image_size)
        prepared = cached(
            "fixed_episodes", key, folder, lambda: self._prepare(images, path, progress), progress, shape=shape
        )
        items = [Item(name, image) for name in images for image in images[name]]
        return FixedTestDataset(
            listed,
            {item: row for row, item in enumerate(items)},
            Origin(path.stem, prepared.digest, preparation),
            prepared.examples,
            prepared.classes,
            {"test": tuple(images)},
            self.pixels,
        )

    def _prepare(self, images: Mapping[str, list[str]], path: Path, progress: Progress) -> Prepared:
        """The images of each class. One that several classes have, in different episodes, is read once."""
        import torch

        from metaexp.data.cache.prepared import Prepared
        from metaexp.data.files.image_tensors import from_files
        from metaexp.data.files.images import own_reading

        progress(f"Reading images from {path}.")
        files = sorted({image for items in images.values() for image in items})
        with open_source(path, self.follow_links) as source:
            read = from_files(source, {"": files}, own_reading(self.image_preparation()), progress, self._advice())
        places = {image: row for row, image in enumerate(files)}
        rows = torch.tensor([places[image] for items in images.values() for image in items])
        listed = json.dumps(images).encode("utf-8", "surrogateescape")
        digest = hashlib.sha256(read.digest.encode() + listed).hexdigest()
        return Prepared(read.examples[rows], {name: len(items) for name, items in images.items()}, digest)

    def _advice(self) -> str:
        """What to do where an image is missing."""
        where = "null, which is the folder of that file" if self.folder is None else self.folder
        return (
            f"dataset.file={self.file} gives the paths of images inside dataset.folder, which is {where}. Correct the "
            "file, or set dataset.folder to the folder, zip or tar that has the images."
        )

    def _episodes(self, folder: Path) -> EpisodeList:
        give = "Give a CSV file with the columns episode, role, class and image: absolute, or inside paths.data."
        path = existing_path(folder, "dataset.file", self.file, give=give)
        return read_episodes(path)

    def _images_path(self, folder: Path) -> Path:
        if self.folder is None:
            return named_path(folder, "dataset.file", self.file).parent
        give = (
            "Give the folder, zip or tar that the images of dataset.file are in, absolute or inside paths.data; "
            "null: the folder of that file."
        )
        return existing_path(folder, "dataset.folder", self.folder, give=give)
