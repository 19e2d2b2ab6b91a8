"""Reads the items of a map-style dataset into one tensor, grouped by label."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metaexp.core.counted import agreeing, counted
from metaexp.core.errors import DataError
from metaexp.core.shapes import Split
from metaexp.data.base import Progress
from metaexp.data.values.refused_values import has_masked
from metaexp.data.wrapped.example import Array, as_array, read_example

_LINE_EVERY: Final = 5000
_READ_TWICE: Final = 32
_DIGITS: Final = 6
_UNLABELLED: Final = "Leave items without a label out of the dataset."


class _Item(NamedTuple):
    """An item as it was read.

    Attributes:
        array: A uint8 image (C, H, W), or float32.
        label: Its label.
        is_turned: Whether it is a PIL image that was turned as its EXIF orientation says.
    """

    array: Array
    label: int
    is_turned: bool


class Items(NamedTuple):
    """The items of a dataset, ordered by label.

    Attributes:
        examples: (B, ...) uint8 images (B, C, H, W), or float32.
        sizes: Class -> its number of items, in the order of the rows.
        of_split: The classes of each split; None where one dataset has those of all.
    """

    examples: Tensor
    sizes: dict[str, int]
    of_split: dict[Split, list[str]] | None = None

    def digest(self) -> str:
        """Return the SHA-256 (hex) over the shape, the labels and the bytes of all examples."""
        head = repr((tuple(self.examples.shape), str(self.examples.dtype), list(self.sizes.items())))
        digest = hashlib.sha256(head.encode())
        digest.update(self.examples.contiguous().numpy().data)
        return digest.hexdigest()


def read_items(
    dataset: Any, name: str, wanted: Collection[int] | None, image_size: int | None, progress: Progress
) -> Items:
    """Read items in their order, and sort them by label.

    Where the dataset lists its labels (``targets`` or ``labels``), items of other labels are not read.

    Args:
        dataset: Has ``__len__`` and ``__getitem__``.
        name: What messages call it.
        wanted: The labels that are used; None for all.
        image_size: Height and width to which PIL images are brought; None leaves them as they are.
        progress: Receives a line now and then.

    Raises:
        DataError: An item is not a pair, its label is not a whole number, its example is of no known kind or of another
            shape than the first, or differs when it is read again.
    """
    total = _length(dataset, name)
    listed = _listed(dataset, total, name)
    numbers = [i for i in range(total) if listed is None or wanted is None or int(listed[i]) in wanted]
    if not numbers:
        raise DataError(f"{name} has no items" + (" with the labels of the splits." if total else "."))
    progress(f"Reading {len(numbers)} items of {name}.")
    arrays: list[Array] = []
    labels: list[int] = []
    n_turned = 0
    for done, i in enumerate(numbers, 1):
        array, label, is_turned = _item(dataset, i, name, image_size)
        if arrays and (array.shape, array.dtype) != (arrays[0].shape, arrays[0].dtype):
            raise DataError(
                f"{name}: item {i} is {array.dtype} of shape {array.shape}, and item {numbers[0]} is "
                f"{arrays[0].dtype} of shape {arrays[0].shape}. All must be alike; dataset.image_size=N brings PIL "
                "images to one size, and image.convert('RGB') in the dataset brings them to one mode."
            )
        if listed is not None and int(listed[i]) != label:
            raise DataError(
                f"{name}: item {i} has the label {label}, and its list of labels says {int(listed[i])}. Correct the "
                "dataset, or its target_transform."
            )
        arrays.append(array)
        labels.append(label)
        n_turned += is_turned
        if done % _LINE_EVERY == 0:
            progress(f"  {done} of {len(numbers)} items")
    if n_turned:
        progress(
            f"  {n_turned} of {counted(len(numbers), 'item')} {agreeing(n_turned, 'was')} turned upright, as the EXIF "
            "orientation says. A dataset that turns them itself must take it away: PIL.ImageOps.exif_transpose does."
        )
    _refuse_random(dataset, numbers, arrays, labels, name, image_size)
    kept = [row for row, label in enumerate(labels) if wanted is None or label in wanted]
    order = sorted(kept, key=lambda row: labels[row])
    sizes: dict[str, int] = {}
    for row in order:
        sizes[_class_name(labels[row])] = sizes.get(_class_name(labels[row]), 0) + 1
    return Items(torch.from_numpy(np.stack([arrays[row] for row in order])), sizes)


def joined(parts: Mapping[Split, Items], renumbered: bool) -> Items:
    """Return the items of all datasets together.

    Args:
        parts: Those of the only dataset, or of one for each split.
        renumbered: Whether equal labels in two splits are different classes.

    Raises:
        DataError: The splits differ in shape, or a label is in two splits and labels are not renumbered.
    """
    if len(parts) == 1:
        return next(iter(parts.values()))
    (first, like), *others = parts.items()
    for split, items in others:
        if items.examples.shape[1:] != like.examples.shape[1:] or items.examples.dtype != like.examples.dtype:
            raise DataError(
                f"items of {split} are {items.examples.dtype} of shape {tuple(items.examples.shape[1:])}, and those of "
                f"{first} are {like.examples.dtype} of shape {tuple(like.examples.shape[1:])}. They must be alike."
            )
    owner: dict[str, Split] = {}
    for split, items in parts.items():
        for label in items.sizes:
            if not renumbered and label in owner:
                raise DataError(
                    f"label {int(label)} is in {owner[label]} and in {split}. In meta-learning the classes of the "
                    "splits must differ. If each split numbers its own classes, set dataset.renumbered=true; "
                    "if they are the same classes, leave dataset.val_arguments and dataset.test_arguments out."
                )
            owner[label] = split
    named = {s: {_of(s, label, renumbered): n for label, n in items.sizes.items()} for s, items in parts.items()}
    examples = torch.cat([items.examples for items in parts.values()])
    sizes = {label: n for of_it in named.values() for label, n in of_it.items()}
    return Items(examples, sizes, {split: list(of_it) for split, of_it in named.items()})


def _of(split: Split, label: str, renumbered: bool) -> str:
    return f"{split}/{label}" if renumbered else label


def _class_name(label: int) -> str:
    return f"{label:0{_DIGITS}d}"


def _length(dataset: Any, name: str) -> int:
    try:
        return len(dataset)
    except Exception as error:  # somebody else's code
        raise DataError(f"{name} does not say how many items it has: {type(error).__name__}: {error}.") from error


def _listed(dataset: Any, total: int, name: str) -> Array | None:
    """The labels that a dataset lists, (total,); None where it lists none that can be used."""
    for attribute in ("targets", "labels"):
        try:
            given = getattr(dataset, attribute)
            array = None if has_masked(given) else np.asarray(given)
        except Exception:  # somebody else's code; the items themselves have labels, too
            continue
        if array is None:
            raise DataError(f"{name} has masked labels in its {attribute} (numpy.ma). {_UNLABELLED}")
        if array.dtype.kind in "iu" and array.ndim == 1:
            if len(array) != total:
                raise DataError(f"{name} has {total} items, and its {attribute} are {len(array)}. Give each item one.")
            return array
    return None


def _item(dataset: Any, i: int, name: str, image_size: int | None) -> _Item:
    """Item ``i``."""
    try:
        item = dataset[i]
    except (Exception, SystemExit) as error:  # somebody else's code
        raise DataError(f"{name}: item {i} cannot be read: {type(error).__name__}: {error}.") from error
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise DataError(
            f"{name}: item {i} is {_format_kind(item)}; it must be a pair of an example and its label. Derive a class "
            "of your own, whose __getitem__ returns this pair, and name it in dataset.target."
        )
    array, is_turned = read_example(item[0], f"{name}: item {i}", image_size)
    return _Item(array, _label(item[1], f"{name}: item {i}"), is_turned)


def _format_kind(item: Any) -> str:
    """Describe an item that is not a pair: its type, and its length or keys."""
    if isinstance(item, Mapping):
        return f"a {type(item).__name__} with the keys {', '.join(map(str, item))}"
    length = f" of length {len(item)}" if isinstance(item, (tuple, list)) else ""
    return f"a {type(item).__name__}{length}"


def _advice(label: Array) -> str:
    """What to do about a label that is refused."""
    kind = label.dtype.kind
    if label.size != 1:
        return "Return one number for each item; that of a one-hot vector is label.argmax()."
    if kind == "f" and not np.isfinite(label).all():
        return _UNLABELLED
    if kind == "f" and not (label % 1).any():
        return "Return int(label)."
    if kind == "f":
        return "To predict numbers in place of classes, use dataset=regression_table."
    return "Give each class a number, such as its place in a sorted list of their names."


def _label(label: Any, name: str) -> int:
    array = as_array(label, f"the label of {name}")
    if array.size != 1 or array.dtype.kind not in "iu":
        shown = repr(label)[:40]
        raise DataError(
            f"{name} has the label {shown}; labels must be whole numbers, one for each item. {_advice(array)}"
        )
    if int(array.reshape(())) < 0:
        raise DataError(f"{name} has the label {int(array.reshape(()))}; labels must not be negative.")
    return int(array.reshape(()))


def _refuse_random(
    dataset: Any, numbers: list[int], arrays: list[Array], labels: list[int], name: str, image_size: int | None
) -> None:
    """Read some items again: with random transforms or labels they would be different data in each run."""
    for row in sorted({round(row) for row in np.linspace(0, len(numbers) - 1, _READ_TWICE)}):
        again, label, _ = _item(dataset, numbers[row], name, image_size)
        if label != labels[row] or again.shape != arrays[row].shape or again.tobytes() != arrays[row].tobytes():
            raise DataError(
                f"{name}: item {numbers[row]} differs when it is read again, as with random transforms. Items are read "
                "once and kept, so they must be the same each time. Leave random transforms out."
            )
