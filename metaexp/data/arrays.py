"""Your own arrays: images, sequences or vectors in an .npz file. Importing this module does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from metaexp.core.counted import counted
from metaexp.core.errors import ConfigError, DataError
from metaexp.core.fields import NonNegativeInt, PositiveInt
from metaexp.core.shapes import SPLITS, Capacity, Split
from metaexp.data.base import Dataset, Progress
from metaexp.data.classification.class_ids import ids_of_names
from metaexp.data.classification.preprocessing import (
    ImagePreparation,
    Normalisation,
    Origin,
    RotationKind,
    RotationPlace,
    Rotations,
    normalised_pixels,
)
from metaexp.data.classification.random_split import checked_fractions, split_by_fractions
from metaexp.data.files.alike_names import warn_of_alike_names
from metaexp.data.files.left_out import large_enough, only_these
from metaexp.data.files.locate import existing_path
from metaexp.data.inventory.card import OWN_FILE
from metaexp.data.inventory.sources import Sources, looked_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from metaexp.data.cache.prepared import Prepared
    from metaexp.data.classification.class_dataset import ClassDataset
    from metaexp.data.files.labelled_arrays import Labels

_READING: Final = "arrays, reading 1"
"""Another number after each change of how a file becomes examples: what was computed of them is then not used again."""


class Arrays(Dataset):
    """Labelled examples from a NumPy .npz file, read without pickle.

    Either ``x_train, y_train, x_val, y_val, x_test, y_test``, whose classes must differ between splits; or ``x, y``,
    whose classes are given to splits by the arrays ``train_classes, val_classes, test_classes`` where there are
    such, else divided by ``fractions`` and ``split_seed``. y: (B,) whole numbers or text. x: uint8 images (B, H, W),
    (B, C, H, W) or (B, H, W, C) with 1 or 3 channels; or floats, delivered as float32: vectors (B, D), sequences
    (B, L, D), images (B, C, H, W) or (B, H, W, C).
    """

    kind = "classification"
    card = OWN_FILE

    def __init__(
        self,
        file: str,
        fractions: list[float],
        split_seed: NonNegativeInt,
        invert: bool,
        normalise: Normalisation | None,
        rotations: RotationKind,
        rotations_in: RotationPlace,
        min_examples: PositiveInt | None = None,
    ) -> None:
        """Describe the file.

        Args:
            file: The .npz file: absolute, inside ``paths.data``, or beginning with ``~``.
            fractions: Parts of the classes for train, val and test, where the file does not say.
            split_seed: Decides which classes go where then.
            invert: Whether uint8 images are delivered as 1 - value.
            normalise: [mean, std], subtracted and divided in uint8 images, or [means, stds] with one for each channel;
                None for neither.
            rotations: Whether, and how, square images are turned by multiples of 90 degrees.
            rotations_in: The splits in which they are turned.
            min_examples: Classes with fewer examples are left out; None leaves out none.

        Raises:
            ConfigError: ``fractions`` or ``normalise`` are impossible.
        """
        self.file = file
        self.fractions = checked_fractions(fractions)
        self.split_seed = split_seed
        self.pixels = normalised_pixels(invert, normalise)
        self.rotations = Rotations(rotations, rotations_in)
        self.min_examples = min_examples

    def capacity(self) -> None:
        """Return None: only the file tells."""
        return

    def capacity_in(self, folder: Path) -> Mapping[Split, Capacity]:
        """Return the classes and examples of each split, from the labels alone."""
        sizes, splits = self._labelled(folder)
        return {
            split: Capacity(
                len(names) * self.rotations.classes_per_class(split), min(sizes.get(name, 0) for name in names)
            )
            for split, names in splits.items()
            if names
        }

    def class_ids_in(self, folder: Path) -> Mapping[Split, Mapping[str, frozenset[str]]]:
        """Return the identifiers of the names of the classes, from the labels alone."""
        return ids_of_names(self._path(folder).stem, self._labelled(folder)[1])

    def _labelled(self, folder: Path) -> tuple[dict[str, int], dict[Split, list[str]]]:
        """The examples of each class, and the classes of each split."""
        from metaexp.data.files.labelled_arrays import class_sizes, read_labels

        path = self._path(folder)
        labels = read_labels(path)
        sizes = class_sizes(labels)
        return sizes, self._splits(self._large(sizes, path, lambda _: None), labels, path)

    def image_preparation(self) -> ImagePreparation:
        """Return how bytes become examples; no image files are read."""
        return ImagePreparation(self.pixels)

    def sources(self, folder: Path) -> Sources:
        """Return where the .npz file is."""
        return looked_for(lambda: [self._path(folder)], "own files")

    def load(self, folder: Path, progress: Progress) -> ClassDataset:
        """Read the file and order its examples by class."""
        from metaexp.data.classification.class_dataset import ClassDataset
        from metaexp.data.classification.duplicates import warn_of_duplicates
        from metaexp.data.classification.scales import warn_of_large_values, warn_of_scales
        from metaexp.data.classification.suspect_images import warn_of_suspect_images

        path = self._path(folder)
        prepared, labels = _read(path, folder, progress)
        examples, sizes, digest, version = prepared
        large = self._large(sizes, path, progress)
        splits = self._splits(large, labels, path)
        _report_left_out(large, splits, path, progress)
        self._check_pixels(str(examples.dtype).removeprefix("torch."), path)
        warn_of_alike_names(sizes, "class", path, progress)
        warn_of_duplicates(examples, sizes, splits, progress, version)
        warn_of_scales(examples, sizes, splits, progress, version)
        warn_of_suspect_images(examples, str(path), progress, version)
        warn_of_large_values(examples, sizes, splits, str(path), progress, version)
        return ClassDataset(Origin(path.stem, digest), examples, sizes, splits, self.pixels, self.rotations)

    def _path(self, folder: Path) -> Path:
        give = (
            "Give an .npz file, absolute or inside paths.data, with x and y, or with x_train, y_train, x_val, "
            "y_val, x_test and y_test."
        )
        path = existing_path(folder, "dataset.file", self.file, give=give)
        if path.is_dir():
            raise DataError(f"dataset.file: {path.absolute()} is a folder. Give an .npz file in it.")
        return path

    def _large(self, sizes: Mapping[str, int], path: Path, progress: Progress) -> dict[str, int]:
        return large_enough(sizes, self.min_examples, "min_examples", "class", path, progress)

    def _splits(self, large: Mapping[str, int], labels: Labels, path: Path) -> dict[Split, list[str]]:
        """The classes of each split that have enough examples."""
        if labels.splits is None:
            return split_by_fractions(large, self.fractions, self.split_seed)
        return only_these(large, labels.splits, f"dataset.min_examples={self.min_examples}", path)

    def _check_pixels(self, dtype: str, path: Path) -> None:
        if dtype != "uint8" and (self.pixels.invert or self.pixels.mean is not None):
            raise ConfigError(
                f"dataset.invert and dataset.normalise are for uint8 images; x of {path} is {dtype}, and "
                "delivered as it is. Leave them false and null."
            )


def _read(path: Path, folder: Path, progress: Progress) -> tuple[Prepared, Labels]:
    """The examples, ordered by class: from the file, or, if they stay on disk, from the cache."""
    import numpy as np
    import torch

    from metaexp.data.cache.prepared import Prepared, cached
    from metaexp.data.files.image_tensors import fingerprint
    from metaexp.data.files.labelled_arrays import class_sizes, read_labelled, read_labels
    from metaexp.data.mapped.large_arrays import digest_begin, prepare_arrays, size_of_examples
    from metaexp.data.mapped.placement import stays_on_disk
    from metaexp.data.mapped.receipts import compute_once, version_if_large

    if stays_on_disk(size_of_examples(path)):
        labels = read_labels(path)
        key = {"files": fingerprint([path]), "reading": 1}
        return cached("arrays", key, folder, lambda: prepare_arrays(path, labels, progress), progress), labels
    progress(f"Reading {path}.")
    before = version_if_large(path, _READING)
    x, labels = read_labelled(path)
    version = before if before == version_if_large(path, _READING) else None  # else it was changed meanwhile

    def digest() -> bytes:
        found = digest_begin(x.shape, x.dtype, labels)
        found.update(np.ascontiguousarray(x).reshape(-1).view(np.uint8).data)
        return found.hexdigest().encode()

    whole = compute_once(version, "digest", digest).decode()
    examples = torch.from_numpy(np.ascontiguousarray(x[np.argsort(labels.y, kind="stable")]))
    return Prepared(examples, class_sizes(labels), whole, version), labels


def _report_left_out(
    sizes: Mapping[str, int], splits: Mapping[Split, list[str]], path: Path, progress: Progress
) -> None:
    used = {name for split in SPLITS for name in splits[split]}
    left = [name for name in sizes if name not in used]
    if left:
        n_examples = sum(sizes[name] for name in left)
        progress(
            f"Left out of {path}: {counted(n_examples, 'example')} of {counted(len(left), 'class')} that are in no "
            "class list."
        )
