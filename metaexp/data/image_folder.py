"""One's own images in folders, one per class. Importing this module does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metaexp.core.errors import DataError
from metaexp.core.fields import NonNegativeInt, PositiveInt
from metaexp.core.shapes import SPLITS, Split
from metaexp.data.base import Dataset, MetaDataset, Progress
from metaexp.data.classification.preprocessing import Origin, RotationKind, RotationPlace, Rotations, normalised_pixels
from metaexp.data.classification.random_split import checked_fractions, split_by_fractions
from metaexp.data.files.archives import open_source
from metaexp.data.files.folders import images_by_folder

if TYPE_CHECKING:
    from metaexp.data.files.cache import Prepared


class ImageFolder(Dataset):
    """Images of any size and kind in a folder (or a zip or tar of it), brought to one size.

    ``train/class/image``, ``val/class/image``, ``test/class/image``; or ``class/image``, whose classes are then
    divided by ``fractions`` and ``split_seed``. Folders may be nested: each folder that has images is a class.
    """

    kind = "classification"

    def __init__(
        self,
        folder: str,
        image_size: PositiveInt,
        channels: Literal[1, 3],
        fractions: list[float],
        split_seed: NonNegativeInt,
        invert: bool,
        normalise: list[float] | None,
        rotations: RotationKind,
        rotations_in: RotationPlace,
    ) -> None:
        self.folder = folder
        self.image_size = image_size
        self.channels = channels
        self.fractions = checked_fractions(fractions)
        self.split_seed = split_seed
        self.pixels = normalised_pixels(invert, normalise)
        self.rotations = Rotations(rotations, rotations_in)

    def capacity(self) -> None:
        """Only the files tell."""
        return

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        """Read and resize the images; from the cache while no file changes."""
        from metaexp.data.classification.class_dataset import ClassDataset
        from metaexp.data.files.cache import cached
        from metaexp.data.files.image_tensors import fingerprint

        path = folder / self.folder
        if not path.exists():
            raise DataError(
                f"dataset.folder={self.folder}: there is no {path.absolute()}. Give a folder of images, absolute or "
                "inside paths.data, with train/class, val/class and test/class in it, or with one folder per class."
            )
        preparation: dict[str, Any] = {"image_size": self.image_size, "channels": self.channels, "resize": "lanczos"}
        key = {**preparation, "files": fingerprint([path])}
        prepared = cached("image_folder", key, folder, lambda: self._prepare(path, progress), progress)
        return ClassDataset(
            Origin(path.stem, prepared.digest, preparation),
            prepared.examples,
            prepared.classes,
            self._splits(list(prepared.classes), path),
            self.pixels,
            self.rotations,
        )

    def _prepare(self, path: Path, progress: Progress) -> Prepared:
        from metaexp.data.files.image_tensors import from_files

        progress(f"Reading images from {path}.")
        with open_source(path) as source:
            files = images_by_folder(source.names())
            files = {name: images for name, images in files.items() if name}
            if not files:
                raise DataError(f"{path} has no folders with images in them.")
            return from_files(source, files, self.channels, self.image_size, progress)

    def _splits(self, classes: list[str], path: Path) -> dict[Split, list[str]]:
        """The classes of each split: by their first folder where that is the split, else by fractions."""
        inside = _common_folder(classes)
        first = {name.removeprefix(inside).split("/", 1)[0] for name in classes}
        if not first & set(SPLITS):
            return split_by_fractions(classes, self.fractions, self.split_seed)
        if first != set(SPLITS):
            raise DataError(
                f"{path} has the folders {', '.join(sorted(first))}: for a split of your own, have exactly train, val "
                "and test; for one by dataset.fractions, none of them."
            )
        splits: dict[Split, list[str]] = {
            split: [name for name in classes if name.startswith(f"{inside}{split}/")] for split in SPLITS
        }
        _refuse_shared({split: [n.removeprefix(f"{inside}{split}/") for n in splits[split]] for split in SPLITS}, path)
        return splits


def _common_folder(classes: list[str]) -> str:
    """The folders, with a final slash, that all ``classes`` lie in and that name no split: an archive's own root."""
    parts = [name.split("/")[:-1] for name in classes]
    common: list[str] = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1 or level[0] in SPLITS:
            break
        common.append(level[0])
    return "".join(f"{folder}/" for folder in common)


def _refuse_shared(splits: dict[Split, list[str]], path: Path) -> None:
    """Raise DataError for a class that is in two splits, as in folders made for ordinary classification."""
    owner: dict[str, Split] = {}
    for split, names in splits.items():
        for name in names:
            if name in owner:
                raise DataError(
                    f"{path}: class {name} is in {owner[name]} and in {split}. In meta-learning the classes of the "
                    "splits must differ: new classes are what is tested."
                )
            owner[name] = split
