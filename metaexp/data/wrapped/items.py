"""Reads the items of a map-style dataset into one tensor, grouped by label."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from metaexp.core.errors import DataError, first_line
from metaexp.core.shapes import Split
from metaexp.data.base import Progress
from metaexp.data.files.images import composited

_LINE_EVERY: Final = 5000
_READ_TWICE: Final = 32
_CHANNELS: Final = (1, 3)
_DIGITS: Final = 6

Array = npt.NDArray[Any]


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
    for done, i in enumerate(numbers, 1):
        array, label = _item(dataset, i, name, image_size)
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
        if done % _LINE_EVERY == 0:
            progress(f"  {done} of {len(numbers)} items")
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
            array = np.asarray(getattr(dataset, attribute))
        except Exception:  # somebody else's code; the items themselves have labels, too
            continue
        if array.dtype.kind in "iu" and array.ndim == 1:
            if len(array) != total:
                raise DataError(f"{name} has {total} items, and its {attribute} are {len(array)}. Give each item one.")
            return array
    return None


def _item(dataset: Any, i: int, name: str, image_size: int | None) -> tuple[Array, int]:
    """The example and the label of item ``i``."""
    try:
        item = dataset[i]
    except (Exception, SystemExit) as error:  # somebody else's code
        raise DataError(f"{name}: item {i} cannot be read: {type(error).__name__}: {error}.") from error
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise DataError(
            f"{name}: item {i} is {_format_kind(item)}; it must be a pair of an example and its label. Derive a class "
            "of your own, whose __getitem__ returns this pair, and name it in dataset.target."
        )
    return _example(item[0], f"{name}: item {i}", image_size), _label(item[1], f"{name}: item {i}")


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
        return "Leave items without a label out of the dataset."
    if kind == "f" and not (label % 1).any():
        return "Return int(label)."
    if kind == "f":
        return "To predict numbers in place of classes, use dataset=regression_table."
    return "Give each class a number, such as its place in a sorted list of their names."


def _label(label: Any, name: str) -> int:
    array = _as_array(label, f"the label of {name}")
    if array.size != 1 or array.dtype.kind not in "iu":
        shown = repr(label)[:40]
        raise DataError(
            f"{name} has the label {shown}; labels must be whole numbers, one for each item. {_advice(array)}"
        )
    if int(array.reshape(())) < 0:
        raise DataError(f"{name} has the label {int(array.reshape(()))}; labels must not be negative.")
    return int(array.reshape(()))


def _example(example: Any, name: str, image_size: int | None) -> Array:
    """A uint8 image (C, H, W), or float32."""
    if isinstance(example, Image.Image):
        try:
            return _from_pil(example, name, image_size)
        except (OSError, ValueError) as error:  # of a file that is opened here, or a mode that cannot be converted
            raise DataError(f"{name} cannot be read: {type(error).__name__}: {error}.") from error
    array = _as_array(example, name)
    if array.dtype == np.uint8:
        return _channels_first(array, name).copy(order="C")  # some datasets give one buffer again and again
    if array.dtype.kind == "f" and array.ndim in (1, 2, 3) and array.size:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise DataError(f"{name} has values that are not finite as float32.")
        return np.ascontiguousarray(array)
    raise DataError(
        f"{name} is {array.dtype} of shape {array.shape}; an example must be a PIL image, a uint8 image, or floats: "
        "(D,), (L, D) or (C, H, W)."
    )


def _as_array(value: Any, name: str) -> Array:
    try:
        if isinstance(value, Tensor):
            dense = value.detach().cpu()
            return np.asarray(dense.float() if dense.is_floating_point() else dense)  # numpy has no bfloat16
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # of ragged lists, sparse tensors
        raise DataError(f"{name} cannot be made into an array: {first_line(error).rstrip('.')}.") from error


def _channels_first(array: Array, name: str) -> Array:
    if array.ndim == 2 and array.size:
        return array[None]
    if array.ndim == 3 and array.size and array.shape[0] in _CHANNELS:
        return array
    if array.ndim == 3 and array.size and array.shape[2] in _CHANNELS:
        return array.transpose(2, 0, 1)
    raise DataError(
        f"{name} is uint8 of shape {array.shape}; images must be (H, W), (C, H, W) or (H, W, C) with 1 or 3 channels."
    )


def _from_pil(image: Image.Image, name: str, size: int | None) -> Array:
    if image.mode == "F" or image.mode.startswith("I"):
        raise DataError(
            f"{name} is a PIL image of mode {image.mode}, whose values have no known range. Let the dataset scale it "
            "to 8 bits, or give floats (1, H, W) in its place."
        )
    grey = image.mode in ("1", "L", "LA")
    image = (composited(image, "white") or image).convert("L" if grey else "RGB")
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    array = np.asarray(image)
    return np.ascontiguousarray(array[None] if grey else array.transpose(2, 0, 1))


def _refuse_random(
    dataset: Any, numbers: list[int], arrays: list[Array], labels: list[int], name: str, image_size: int | None
) -> None:
    """Read some items again: with random transforms or labels they would be different data in each run."""
    for row in sorted({round(row) for row in np.linspace(0, len(numbers) - 1, _READ_TWICE)}):
        again, label = _item(dataset, numbers[row], name, image_size)
        if label != labels[row] or again.shape != arrays[row].shape or again.tobytes() != arrays[row].tobytes():
            raise DataError(
                f"{name}: item {numbers[row]} differs when it is read again, as with random transforms. Items are read "
                "once and kept, so they must be the same each time. Leave random transforms out."
            )
