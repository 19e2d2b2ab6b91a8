"""Examples and labels in an .npz file, each split checked by itself. Importing this module does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from metaexp.core.counted import counted
from metaexp.core.errors import DataError
from metaexp.core.shapes import SPLITS, Split
from metaexp.data.files.npz import Header, array_headers, read_npz
from metaexp.data.values.refused_values import label_advice, refuse_not_finite

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.generic]

_CHANNELS = (1, 3)
T = TypeVar("T")


class Labels(NamedTuple):
    """The labels of all examples."""

    y: Array
    """(B,) text. Whole numbers are padded with zeros, so that their order is that of the numbers."""
    splits: dict[Split, list[str]] | None
    """The classes of each split; None where the file does not say."""


class Labelled(NamedTuple):
    """Examples with their labels."""

    x: Array
    """(B, C, H, W) uint8, or (B, ...) float32."""
    labels: Labels


def class_sizes(labels: Labels) -> dict[str, int]:
    """Return class -> its number of examples, sorted by class."""
    import numpy as np

    names, sizes = np.unique(labels.y, return_counts=True)
    return dict(zip(names.tolist(), sizes.tolist(), strict=True))


def read_labels(path: Path) -> Labels:
    """Read only the labels and class lists of a file; of the examples, their headers.

    Raises:
        DataError: The file is wrong, as in :func:`read_labelled`. The values of the examples are not checked.
    """
    ends = tuple(name.removeprefix("x") for name in examples_in(path))
    names = list(array_headers(path))
    arrays = read_npz(path, [n for n in names if n.startswith("y") or n.endswith("_classes")])
    return _labels(arrays, ends, path, names)


def examples_in(path: Path) -> dict[str, Header]:
    """Return each array of examples in a file -> the shape and type that they are delivered in.

    Raises:
        DataError: The file is wrong, as in :func:`read_labelled`. The values of the examples are not checked.
    """
    headers = array_headers(path)
    names = list(headers)
    ends = _splits_in(names, path)
    problems, layouts = [], {}
    for end in ends:
        try:
            layouts[end] = _layout(_array(headers, f"x{end}", path, names), f"x{end}", path)
        except DataError as error:
            problems.append(str(error))
    if not problems:
        problems += _differences(layouts, path)
        problems += _wrong_lengths({name: header.shape for name, header in headers.items()}, ends, path)
    if problems:
        raise DataError("\n".join(problems))
    return {f"x{end}": layout for end, layout in layouts.items()}


def read_labelled(path: Path) -> Labelled:
    """Read examples and labels.

    Args:
        path: An .npz file with x and y, or with both for each split.

    Raises:
        DataError: Arrays are missing, of no known kind, not finite, or do not fit together. One line for each problem.
    """
    import numpy as np

    arrays = read_npz(path)
    ends = _splits_in(list(arrays), path)
    problems: list[str] = []
    parts: list[Array] = []
    for end in ends:
        name = f"x{end}"
        try:
            parts.append(examples_of(_array(arrays, name, path, list(arrays)), name, path))
        except DataError as error:
            problems.append(str(error))
    if not problems:
        layouts = {end: Header(part.shape, part.dtype) for end, part in zip(ends, parts, strict=True)}
        problems += _differences(layouts, path)
        problems += _wrong_lengths({name: array.shape for name, array in arrays.items()}, ends, path)
    if problems:
        raise DataError("\n".join(problems))
    return Labelled(np.concatenate(parts) if len(parts) > 1 else parts[0], _labels(arrays, ends, path, list(arrays)))


def _splits_in(names: list[str], path: Path) -> tuple[str, ...]:
    """What follows x and y in the names of the arrays: nothing, or each split."""
    split_names = [f"x_{split}" for split in SPLITS if f"x_{split}" in names or f"y_{split}" in names]
    if "x" not in names:
        if not split_names and "y" not in names:
            raise DataError(
                f"{path} has no array x, and none for each split; it has {', '.join(names) or 'none'}. Name them x and "
                "y, or x_train, y_train, x_val, y_val, x_test and y_test."
            )
        return ("",) if not split_names else tuple(f"_{split}" for split in SPLITS)
    if split_names:
        raise DataError(f"{path} has both x and {split_names[0]}. Keep x and y, or the arrays of the splits.")
    return ("",)


def _refuse_split(names: list[str], path: Path) -> None:
    """Raise DataError for an array such as ``split``, which is not read: the classes would be divided at random."""
    found = next((name for name in names if name.lower().rstrip("s") == "split"), None)
    if found is not None:
        raise DataError(
            f"{path} has the array {found}, which is not read. Name the classes of each split in train_classes, "
            "val_classes and test_classes, or save x_train, y_train and so on. Without it, dataset.fractions divides "
            "the classes."
        )


def _labels(arrays: Mapping[str, Array], ends: tuple[str, ...], path: Path, names: list[str]) -> Labels:
    import numpy as np

    if ends == ("",):
        y = _text(arrays, "y", path, names)
        if not any(f"{split}_classes" in arrays for split in SPLITS):
            _refuse_split(names, path)
            return Labels(y, None)
        lists = {split: _text(arrays, f"{split}_classes", path, names).tolist() for split in SPLITS}
        _check_lists(lists, set(y.tolist()), path)
        return Labels(y, lists)
    by_split = {split: _text(arrays, f"y_{split}", path, names) for split in SPLITS}
    splits = {split: sorted(set(by_split[split].tolist())) for split in SPLITS}
    _refuse_shared(splits, path)
    return Labels(np.concatenate(list(by_split.values())), splits)


def _array(arrays: Mapping[str, T], name: str, path: Path, names: list[str]) -> T:
    if name not in arrays:
        raise DataError(f"{path} has no array {name}; it has {', '.join(sorted(names)) or 'none'}.")
    return arrays[name]


def _text(arrays: Mapping[str, Array], name: str, path: Path, names: list[str]) -> Array:
    import numpy as np

    labels = _array(arrays, name, path, names)
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        kind = "text in bytes" if labels.dtype.kind == "S" else labels.dtype
        raise DataError(
            f"{path}: {name} is {kind} of shape {labels.shape}; it must be one whole number or text for each example. "
            f"{label_advice(labels, name)}"
        )
    if labels.dtype.kind == "U":
        return labels
    return np.array([f"{n:06d}" for n in labels.tolist()], dtype=None if labels.size else "U6")


def examples_of(x: Array, name: str, path: Path, first: int = 0) -> Array:
    """Return ``x``, an array of a file, as (B, C, H, W) uint8 or (B, ...) float32, finite.

    Args:
        x: The array.
        name: Its name, for messages.
        path: The file, for messages.
        first: The number of its first example, where it is a piece.

    Raises:
        DataError: It is of no known kind, empty, or not finite.
    """
    import numpy as np

    wanted = _layout(Header(x.shape, x.dtype), name, path)
    if x.dtype == np.uint8:
        return x.reshape(wanted.shape) if x.ndim == 3 else _channels_first(x, wanted)
    with np.errstate(over="ignore"):
        floats = x.astype(np.float32)
    refuse_not_finite(floats, x, f"{path}: {name}", first)
    return _channels_first(floats, wanted)


def _channels_first(x: Array, wanted: Header) -> Array:
    return x if x.shape == wanted.shape else x.transpose(0, 3, 1, 2)


def _layout(header: Header, name: str, path: Path) -> Header:
    """What an array of examples becomes: (B, C, H, W) uint8 or (B, ...) float32. Raises DataError if neither."""
    import numpy as np

    shape, dtype = header
    if dtype == np.uint8:
        shape = (shape[0], 1, *shape[1:]) if len(shape) == 3 else shape
        first = _with_channels_first(shape)
        if first is None or 0 in shape:
            raise DataError(
                f"{path}: {name} is uint8 of shape {header.shape}; images must be (B, H, W), (B, C, H, W) or "
                "(B, H, W, C) with 1 or 3 channels, at least one of them."
            )
        return Header(first, dtype)
    if dtype.kind != "f" or len(shape) not in (2, 3, 4):
        raise DataError(
            f"{path}: {name} is {dtype} of shape {shape}; it must be uint8 images, or floats (examples, features), "
            "(examples, steps, features) or (examples, channels, height, width)."
        )
    if 0 in shape:
        raise DataError(f"{path}: {name} is empty: its shape is {shape}.")
    return Header(_with_channels_first(shape) or shape, np.dtype(np.float32))


def _with_channels_first(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape (B, C, H, W) of images in either layout; None for others."""
    if len(shape) != 4 or (shape[1] not in _CHANNELS and shape[3] not in _CHANNELS):
        return None
    return shape if shape[1] in _CHANNELS else (shape[0], shape[3], *shape[1:3])


def _differences(parts: Mapping[str, Header], path: Path) -> list[str]:
    """A line for each split whose examples are of another kind or shape than the first's."""
    (first, wanted), *others = parts.items()
    found = []
    for end, x in others:
        if x.dtype != wanted.dtype:
            found.append(f"{path}: x{end} is {x.dtype} and x{first} is {wanted.dtype}. Give all splits the same type.")
        elif x.shape[1:] != wanted.shape[1:]:
            found.append(
                f"{path}: an example of x{end} is {x.shape[1:]} and one of x{first} is {wanted.shape[1:]}. Give all "
                "splits the same size."
            )
    return found


def _wrong_lengths(shapes: Mapping[str, tuple[int, ...]], ends: tuple[str, ...], path: Path) -> list[str]:
    return [
        f"{path}: x{end} has {shapes[f'x{end}'][0]} examples and y{end} has {shapes[f'y{end}'][0]}. Give each example "
        "one label."
        for end in ends
        if shapes.get(f"y{end}") and shapes[f"x{end}"][0] != shapes[f"y{end}"][0]
    ]


def _check_lists(lists: Mapping[Split, list[str]], known: set[str], path: Path) -> None:
    """Raise DataError for class lists with classes that no example has, a line for each list."""
    problems = []
    for split, names in lists.items():
        unknown = [name for name in names if name not in known]
        if unknown:
            problems.append(
                f"{path}: {split}_classes names {unknown[0]}, which no label in y is"
                + (f" (nor {counted(len(unknown) - 1, 'other')})" if len(unknown) > 1 else "")
                + f". Labels in y are such as {min(known, default='none')}."
            )
        if not names:
            problems.append(f"{path}: {split}_classes is empty. Give each split a class.")
    if problems:
        raise DataError("\n".join(problems))


def _refuse_shared(splits: Mapping[Split, list[str]], path: Path) -> None:
    for i, split in enumerate(SPLITS):
        for other in SPLITS[i + 1 :]:
            shared = sorted(set(splits[split]) & set(splits[other]))
            if shared:
                raise DataError(
                    f"{path}: label {shared[0]} is in y_{split} and in y_{other}. In meta-learning the classes of the "
                    "splits must differ. If each split numbers its own labels, add a different offset to each."
                )
