"""Any map-style torch dataset of (image, label) or (vector, label) pairs. Importing this module takes no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from metaexp.core.counted import counted
from metaexp.core.errors import ConfigError, DataError, name_option
from metaexp.core.fields import ClassPath, NonNegativeInt, PositiveInt
from metaexp.core.own_imports import import_own
from metaexp.core.shapes import SPLITS, Split
from metaexp.data.base import Dataset, Progress
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
from metaexp.data.inventory.card import Card
from metaexp.data.inventory.sources import Sources

if TYPE_CHECKING:
    from metaexp.data.classification.class_dataset import ClassDataset
    from metaexp.data.wrapped.items import Items

_ALONE: Final = "train"
"""The split whose dataset is the only one, where there is one for all splits."""


class TorchDataset(Dataset):
    """A dataset class of another library, or of one's own, that has ``__len__`` and ``__getitem__``.

    Items are pairs of an example and its label. Examples are PIL images, uint8 images (H, W), (C, H, W) or (H, W, C)
    with 1 or 3 channels, or floats of one shape: vectors (D,), sequences (L, D) or images (C, H, W). Labels are whole
    numbers. All items are read once, into memory, so an item must be the same each time: random transforms are refused.

    The class is imported, so its package must be trusted, as all code that is not metaexp's.
    """

    kind = "classification"
    card = Card("A dataset class of another library or of your own.")

    def __init__(
        self,
        target: ClassPath | None,
        arguments: dict[str, Any],
        val_target: ClassPath | None,
        val_arguments: dict[str, Any] | None,
        test_target: ClassPath | None,
        test_arguments: dict[str, Any] | None,
        renumbered: bool,
        train_classes: list[int] | None,
        val_classes: list[int] | None,
        test_classes: list[int] | None,
        fractions: list[float],
        split_seed: NonNegativeInt,
        image_size: PositiveInt | None,
        invert: bool,
        normalise: Normalisation | None,
        rotations: RotationKind,
        rotations_in: RotationPlace,
    ) -> None:
        """Describe the dataset.

        Args:
            target: The dotted path of the class.
            arguments: What its constructor gets, by name.
            val_target: A class for the validation split; None for ``target``.
            val_arguments: What the constructor for the validation split gets in addition to ``arguments``, or in
                place of those with the same name; None where one dataset has the classes of all splits.
            test_target: A class for the test split; None for ``target``.
            test_arguments: As ``val_arguments``, for the test split.
            renumbered: Whether each split has its own dataset that numbers its own labels, so that equal labels are
                different classes. Otherwise a label in two splits is an error.
            train_classes: Labels of the training split; None to divide all labels by ``fractions``.
            val_classes: Labels of the validation split.
            test_classes: Labels of the test split.
            fractions: Parts of the labels for train, val and test.
            split_seed: Decides which labels go where then.
            image_size: Height and width to which PIL images are brought; None leaves them as they are.
            invert: Whether uint8 images are delivered as 1 - value.
            normalise: [mean, std], subtracted and divided in uint8 images, or [means, stds] with one for each channel;
                None for neither.
            rotations: Whether, and how, square images are turned by multiples of 90 degrees.
            rotations_in: The splits in which they are turned.

        Raises:
            ConfigError: The splits are given in two ways, or in half of one.
        """
        self.target = target
        self.arguments = arguments
        self.more: dict[Split, tuple[str | None, dict[str, Any] | None]] = {
            "val": (val_target, val_arguments),
            "test": (test_target, test_arguments),
        }
        self.lists: dict[Split, list[int] | None] = {"train": train_classes, "val": val_classes, "test": test_classes}
        self.renumbered = renumbered
        self.has_own = {split: any(part is not None for part in of_it) for split, of_it in self.more.items()}
        self._check_splits()
        self.fractions = checked_fractions(fractions)
        self.split_seed = split_seed
        self.image_size = image_size
        self.pixels = normalised_pixels(invert, normalise)
        self.rotations = Rotations(rotations, rotations_in)

    def capacity(self) -> None:
        """Return None: only the items tell."""
        return

    def image_preparation(self) -> ImagePreparation:
        """Return how bytes become examples; no image files are read."""
        return ImagePreparation(self.pixels)

    def sources(self, folder: Path) -> Sources:
        """Return what to do where no class is named; which files the class reads is not known."""
        trust = name_option("--trust", "my_package")
        advice = "" if self.target else f"Name a class: dataset.target=my_package.MyDataset, and {trust}."
        return Sources("own files", advice=advice)

    def load(self, folder: Path, progress: Progress) -> ClassDataset:
        """Make the datasets, read all their items and group them by label.

        Raises:
            ConfigError: No class is named, or the class refuses its arguments.
            DataError: Items cannot be used; the message names the first.
        """
        import torch

        from metaexp.data.classification.class_dataset import ClassDataset
        from metaexp.data.classification.duplicates import warn_of_duplicates
        from metaexp.data.classification.scales import warn_of_large_values, warn_of_scales
        from metaexp.data.classification.suspect_images import warn_of_suspect_images
        from metaexp.data.wrapped.items import joined

        if self.target is None:
            raise ConfigError(
                "dataset.target=null: name the class of your dataset: dataset.target=my_package.MyDataset."
            )
        parts = {split: self._read(split, progress) for split in SPLITS if split == _ALONE or self.has_own[split]}
        items = joined(parts, self.renumbered)
        splits = self._splits(items)
        used = {name for names in splits.values() for name in names}
        if left := [name for name in items.sizes if name not in used]:
            progress(
                f"Left out of {self.target}: {counted(sum(items.sizes[n] for n in left), 'item')} of "
                f"{counted(len(left), 'class')}."
            )
        if items.examples.dtype != torch.uint8 and (self.pixels.invert or self.pixels.mean is not None):
            raise ConfigError(
                f"dataset.invert and dataset.normalise are for uint8 images; items of {self.target} are floats, and "
                "delivered as they are. Leave them false and null."
            )
        warn_of_duplicates(items.examples, items.sizes, splits, progress)
        warn_of_scales(items.examples, items.sizes, splits, progress)
        warn_of_suspect_images(items.examples, self.target, progress)
        warn_of_large_values(items.examples, items.sizes, splits, self.target, progress)
        origin = Origin(self.target.rpartition(".")[2], items.digest(), {"image_size": self.image_size})
        return ClassDataset(origin, items.examples, items.sizes, splits, self.pixels, self.rotations)

    def _check_splits(self) -> None:
        """Raise ConfigError unless the splits are given in one way: by fractions, by lists, or by datasets."""
        lists = [split for split in SPLITS if self.lists[split] is not None]
        owned = [split for split, is_given in self.has_own.items() if is_given]
        if len(lists) not in (0, len(SPLITS)):
            missing = next(split for split in SPLITS if self.lists[split] is None)
            raise ConfigError(
                f"dataset.{lists[0]}_classes is given, and dataset.{missing}_classes is not. Give all three."
            )
        if len(owned) == 1:
            missing = "test" if owned == ["val"] else "val"
            raise ConfigError(
                f"dataset.{owned[0]}_arguments or _target gives the {owned[0]} split a dataset of its own, and the "
                f"{missing} split has none. Give dataset.{missing}_arguments, too."
            )
        if lists and owned:
            raise ConfigError("dataset.train_classes and dataset.val_arguments both say the splits. Leave one out.")
        if self.renumbered and not owned:
            raise ConfigError(
                "dataset.renumbered=true is for one dataset for each split. Give dataset.val_arguments and "
                "dataset.test_arguments, or set it to false."
            )
        twice = [label for split in lists for label in set(self.lists[split] or ())]
        if shared := sorted({label for label in twice if twice.count(label) > 1}):
            raise ConfigError(f"label {shared[0]} is in the classes of two splits. A class is in one split.")

    def _read(self, split: Split, progress: Progress) -> Items:
        """The items of the dataset of a split."""
        from metaexp.data.wrapped.items import read_items

        target, arguments = self.more.get(split, (None, None))
        path, given = target or self.target or "", {**self.arguments, **(arguments or {})}
        made = _make(path, given)
        wanted = None
        if all(of_it is not None for of_it in self.lists.values()):
            wanted = {label for of_it in self.lists.values() for label in of_it or ()}
        return read_items(made, path, wanted, self.image_size, progress)

    def _splits(self, items: Items) -> dict[Split, list[str]]:
        if items.of_split is not None:
            return items.of_split
        if self.lists["train"] is None:
            if len(items.sizes) < len(SPLITS):
                raise DataError(
                    f"{self.target} has {counted(len(items.sizes), 'class')}, which cannot be divided into train, val "
                    "and test. A class is all items with one label."
                )
            return split_by_fractions(items.sizes, self.fractions, self.split_seed)
        names = {int(name): name for name in items.sizes}
        for split in SPLITS:
            if missing := [label for label in self.lists[split] or () if label not in names]:
                raise DataError(f"dataset.{split}_classes: no item of {self.target} has the label {missing[0]}.")
        return {split: [names[label] for label in self.lists[split] or ()] for split in SPLITS}


def _make(path: str, arguments: Mapping[str, Any]) -> Any:
    """The object of a class that the configuration's check has allowed."""
    module, _, name = path.rpartition(".")
    found = import_own(module)
    try:
        made = getattr(found, name)(**arguments)
    except Exception as error:  # somebody else's code
        why = str(error) if isinstance(error, (TypeError, ValueError, OSError)) else f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"dataset.target={path} cannot be made with {dict(arguments)}: {why}. Correct dataset.arguments."
        ) from error
    lacking = [method for method in ("__len__", "__getitem__") if not hasattr(made, method)]
    if lacking:
        raise ConfigError(
            f"dataset.target={path} has no {lacking[0]}, so it is not a map-style dataset. Streams cannot be divided "
            "into classes; read them into a list first."
        )
    return made
