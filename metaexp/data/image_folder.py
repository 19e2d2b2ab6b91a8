"""Your own images in folders, one per class. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from metaexp.core.counted import counted
from metaexp.core.errors import DataError
from metaexp.core.fields import NonNegativeInt, PositiveInt
from metaexp.core.shapes import Capacity, Split
from metaexp.data.base import Dataset, Progress
from metaexp.data.classification.class_ids import ids_of_names
from metaexp.data.classification.preprocessing import (
    ImagePreparation,
    Normalisation,
    Origin,
    RotationKind,
    RotationPlace,
    Rotations,
    checked_value_range,
    normalised_pixels,
)
from metaexp.data.classification.random_split import checked_fractions, split_by_fractions
from metaexp.data.classification.split_folders import splits_by_folder
from metaexp.data.files.alike_names import warn_of_alike_names
from metaexp.data.files.archives import is_quick, open_source
from metaexp.data.files.folders import ignored_lines, images_by_folder, is_example
from metaexp.data.files.image_list import read_image_list
from metaexp.data.files.left_out import large_enough, only_these
from metaexp.data.files.locate import existing_path
from metaexp.data.inventory.card import OWN_FILE
from metaexp.data.inventory.sources import Sources, looked_for

if TYPE_CHECKING:
    from metaexp.data.cache.prepared import Prepared
    from metaexp.data.classification.class_dataset import ClassDataset

_READING = 6
"""The version of the code that reads files. Raise it if a pixel changes, or if files are refused that were read."""


class ImageFolder(Dataset):
    """Images of any size and format in a folder (or a zip or tar of it), brought to one size.

    ``train/class/image``, ``val/class/image``, ``test/class/image``; or ``class/image``, whose classes are then
    divided by ``fractions`` and ``split_seed``. Folders may be nested: each folder that has images is a class. With
    ``labels``, a CSV says which images there are, of which classes and in which splits.
    Photographs are turned as their EXIF orientation says. Grey images of more than 8 bits are scaled to 8 bits, all by
    the same range.
    """

    kind = "classification"
    card = OWN_FILE
    reads_cache = True

    def __init__(
        self,
        folder: str,
        image_size: PositiveInt,
        channels: Literal[1, 3],
        fractions: list[float],
        split_seed: NonNegativeInt,
        invert: bool,
        normalise: Normalisation | None,
        rotations: RotationKind,
        rotations_in: RotationPlace,
        background: Literal["white", "black"] = "white",
        follow_links: bool = False,
        min_images: PositiveInt | None = None,
        labels: str | None = None,
        value_range: list[float] | None = None,
    ) -> None:
        """Describe the images.

        Args:
            folder: The folder, zip or tar: absolute, inside ``paths.data``, or beginning with ``~``.
            image_size: Height and width in pixels; proportions are not kept.
            channels: 3 for colour, 1 for grey.
            fractions: Parts of the classes for train, val and test, where the folders do not say.
            split_seed: Decides which classes go where then.
            invert: Whether 255 becomes 0.0 and 0 becomes 1.0, for dark strokes on white paper.
            normalise: [mean, std], subtracted and divided in all channels, or [means, stds] with one for each channel;
                None for neither.
            rotations: Whether, and how, images are turned by multiples of 90 degrees.
            rotations_in: The splits in which they are turned.
            background: What shows through where an image is transparent.
            follow_links: Whether symbolic links to what is outside the folder are followed.
            min_images: Classes with fewer images are left out; None leaves out none.
            labels: A CSV with the columns ``file``, a path below the folder, ``label`` and, where it divides the
                classes, ``split``. It is named as ``folder`` is. None: the folders are the classes.
            value_range: [black, white], the stored values that become 0 and 255 in all images. None: 0 and the largest
                value of the depth of an image; 1 for floats.

        Raises:
            ConfigError: ``fractions``, ``normalise`` or ``value_range`` are impossible.
        """
        self.folder = folder
        self.image_size = image_size
        self.channels = channels
        self.fractions = checked_fractions(fractions)
        self.split_seed = split_seed
        self.pixels = normalised_pixels(invert, normalise)
        self.rotations = Rotations(rotations, rotations_in)
        self.background = background
        self.value_range = checked_value_range(value_range)
        self.follow_links = follow_links
        self.min_images = min_images
        self.labels = labels

    def capacity(self) -> None:
        """Return None: only the files tell."""
        return

    def capacity_in(self, folder: Path) -> Mapping[Split, Capacity] | None:
        """Return the classes and images of each split, from the names of the files alone.

        None for a large compressed tar, whose names can be had only by reading all of it.
        """
        found = self._listed(folder)
        return found and {
            split: Capacity(len(names) * self.rotations.classes_per_class(split), min(found[0][name] for name in names))
            for split, names in found[1].items()
        }

    def class_ids_in(self, folder: Path) -> Mapping[Split, Mapping[str, frozenset[str]]] | None:
        """Return the identifiers of the names of the classes. None where :meth:`capacity_in` is."""
        found = self._listed(folder)
        return found and ids_of_names(self._path(folder).stem, found[1])

    def _listed(self, folder: Path) -> tuple[dict[str, int], dict[Split, list[str]]] | None:
        """The images of each class, and the classes of each split; None where the names cannot be had quickly."""
        path = self._path(folder)
        if not is_quick(path):
            return None
        listed = self._list(folder)
        sizes = {name: len(images) for name, images in self._files(path, listed, lambda _: None).items()}
        return sizes, self._splits(sizes, path, listed, lambda _: None)

    def image_preparation(self) -> ImagePreparation:
        """Return how images become examples."""
        return ImagePreparation(
            self.pixels, self.channels, self.image_size, background=self.background, value_range=self.value_range
        )

    def sources(self, folder: Path) -> Sources:
        """Return where the images and the list of labels are."""
        return looked_for(lambda: filter(None, [self._path(folder), self._list(folder)]), "own files", "image_folder")

    def load(self, folder: Path, progress: Progress) -> ClassDataset:
        """Read and resize the images; from the cache while no file changes."""
        from metaexp.data.cache.prepared import cached
        from metaexp.data.classification.class_dataset import ClassDataset
        from metaexp.data.classification.duplicates import warn_of_duplicates
        from metaexp.data.files.image_tensors import fingerprint

        path = self._path(folder)
        preparation = self.image_preparation().recorded()
        listed = self._list(folder)
        key = {**preparation, "files": fingerprint([path], self.follow_links), "reading": _READING}
        if listed is not None:
            key["labels"] = fingerprint([listed], self.follow_links)
        shape = (self.channels, self.image_size, self.image_size)
        prepared = cached(
            "image_folder", key, folder, lambda: self._prepare(path, listed, progress), progress, shape=shape
        )
        splits = self._splits(prepared.classes, path, listed, progress)
        warn_of_alike_names(prepared.classes, "class", path, progress)
        warn_of_duplicates(prepared.examples, prepared.classes, splits, progress, prepared.version)
        return ClassDataset(
            Origin(path.stem, prepared.digest, preparation),
            prepared.examples,
            prepared.classes,
            splits,
            self.pixels,
            self.rotations,
        )

    def _path(self, folder: Path) -> Path:
        give = (
            "Give a folder of images, absolute or inside paths.data, with train/class, val/class and test/class "
            "in it, or with one folder per class."
        )
        return existing_path(folder, "dataset.folder", self.folder, give=give)

    def _list(self, folder: Path) -> Path | None:
        """The file of ``labels``."""
        if self.labels is None:
            return None
        give = "Give a CSV with the columns file and label, absolute or inside paths.data, or null."
        return existing_path(folder, "dataset.labels", self.labels, kind="file", give=give)

    def _files(self, path: Path, listed: Path | None, progress: Progress) -> dict[str, list[str]]:
        """The images of each class; ``progress`` gets a line about what is ignored."""
        with open_source(path, self.follow_links) as source:
            names = source.names()
            if listed is not None:
                files, _, notes = read_image_list(listed, path, set(names))
                source.check_once([image for images in files.values() for image in images])
                left = len(list(filter(is_example, names))) - sum(map(len, files.values()))
                for line in notes:
                    progress(line)
                if left > 0:
                    progress(f"Ignored in {path}: {counted(left, 'image')} that {listed} does not list.")
                return files
            files = {name: images for name, images in images_by_folder(names).items() if name}
            source.check_once([image for images in files.values() for image in images])
            others = ignored_lines(names, source.ignored, path)
        if not files:
            advice = "Put the images of each class into a folder that has its name."
            raise DataError(" ".join([f"{path} has no folders with images in them.", *others, advice]))
        for line in others:
            progress(line)
        return files

    def _prepare(self, path: Path, listed: Path | None, progress: Progress) -> Prepared:
        from metaexp.data.files.image_tensors import from_files
        from metaexp.data.files.images import own_reading

        progress(f"Reading images from {path}.")
        files = self._files(path, listed, progress)
        with open_source(path, self.follow_links) as source:
            return from_files(source, files, own_reading(self.image_preparation()), progress)

    def _splits(
        self, sizes: Mapping[str, int], path: Path, listed: Path | None, progress: Progress
    ) -> dict[Split, list[str]]:
        """The classes of each split that have enough images: by list, by their first folder, or by fractions."""
        large = large_enough(sizes, self.min_images, "min_images", "class", path, progress)
        named = splits_by_folder(list(sizes), path) if listed is None else read_image_list(listed, path).splits
        if named is None:
            return split_by_fractions(large, self.fractions, self.split_seed)
        return only_these(large, named, f"dataset.min_images={self.min_images}", path)
