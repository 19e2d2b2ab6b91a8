"""Regression tasks in a CSV or .npz file: inputs, targets and the task of each example. Without torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metaexp.core.errors import DataError
from metaexp.core.shapes import SPLITS, Split
from metaexp.data.files.csv_rows import read_rows
from metaexp.data.files.folder_scan import refuse_special
from metaexp.data.files.npz import read_npz

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.generic]
    Floats = npt.NDArray[np.float32]

_ADVICE = "Give each example its task in a column (or array) called task, its inputs in x and its targets in y."


class TableContent(NamedTuple):
    """The examples of a file, in its order.

    Attributes:
        x: (B, D) or (B, L, D) float32, finite.
        y: (B, D_out) float32, finite.
        tasks: The task of each example (B).
        splits: The tasks of each split; None where the file does not say.
    """

    x: Floats
    y: Floats
    tasks: list[str]
    splits: dict[Split, list[str]] | None


def read_table(path: Path, inputs: Sequence[str] | None, targets: Sequence[str] | None) -> TableContent:
    """Read a CSV or .npz file.

    Args:
        path: The file; ``.npz`` is read as arrays, everything else as CSV with a header.
        inputs: The columns of x in a CSV, in order; None for x, or x0, x1, ...
        targets: The columns of y in a CSV, in order; None for y, or y0, y1, ...

    Raises:
        DataError: Columns or arrays are missing, of another kind, not finite, or do not fit together; a task is in two
            splits.
    """
    refuse_special(path)
    if path.suffix.lower() == ".npz":
        return _from_arrays(path)
    return _from_csv(path, inputs, targets)


def _from_csv(path: Path, inputs: Sequence[str] | None, targets: Sequence[str] | None) -> TableContent:
    import numpy as np

    header, rows = read_rows(path)
    if not rows:
        raise DataError(f"{path} has no examples. {_ADVICE}")
    x_names, y_names = _columns("x", inputs, header, path), _columns("y", targets, header, path)
    task = _place("task", header, path)
    split = header.index("split") if "split" in header else None
    numbers = [header.index(name) for name in (*x_names, *y_names)]
    values = np.empty((len(rows), len(numbers)), np.float32)
    for at, (line, row) in enumerate(rows):
        for column, place in enumerate(numbers):
            values[at, column] = _number(row[place], header[place], line, path)
    tasks = [row[task] for _, row in rows]
    named = None if split is None else [row[split] for _, row in rows]
    n = len(x_names)
    return TableContent(values[:, :n], values[:, n:], tasks, _splits(tasks, named, path))


def _columns(letter: str, given: Sequence[str] | None, header: list[str], path: Path) -> list[str]:
    """The names of the columns of x or of y."""
    key = "inputs" if letter == "x" else "targets"
    if given is not None:
        missing = [name for name in given if name not in header]
        if missing:
            raise DataError(f"dataset.{key} names {missing[0]}; {path} has the columns {', '.join(header)}.")
        return list(given)
    numbered = [name for name in header if re.fullmatch(rf"{letter}_?\d+", name)]
    if letter in header and numbered:
        raise DataError(f"{path} has both {letter} and {numbered[0]}. Name the columns in dataset.{key}.")
    found = [letter] if letter in header else sorted(numbered, key=lambda name: int(re.sub(r"\D", "", name)))
    if not found:
        raise DataError(
            f"{path} has no column {letter}, and none called {letter}0, {letter}1, ...; it has {', '.join(header)}. "
            f"Name the columns in dataset.{key}."
        )
    return found


def _place(name: str, header: list[str], path: Path) -> int:
    if name not in header:
        raise DataError(f"{path} has no column {name}; it has {', '.join(header)}. {_ADVICE}")
    return header.index(name)


def _number(text: str, column: str, line: int, path: Path) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not abs(number) < 3.4e38:
        raise DataError(f"{path}, line {line}: {column} is {text!r}; it must be a finite number (float32).")
    return number


def _from_arrays(path: Path) -> TableContent:
    arrays = read_npz(path)
    for name in ("x", "y", "task"):
        if name not in arrays:
            raise DataError(f"{path} has no array {name}; it has {', '.join(sorted(arrays)) or 'none'}. {_ADVICE}")
    x, y = (_floats(arrays[name], name, path) for name in ("x", "y"))
    x, y = x.reshape(len(x), -1) if x.ndim == 1 else x, y.reshape(len(y), -1) if y.ndim == 1 else y
    if x.ndim not in (2, 3) or y.ndim != 2 or 0 in (*x.shape, *y.shape):
        raise DataError(
            f"{path}: x has the shape {arrays['x'].shape} and y {arrays['y'].shape}. x must be (examples), (examples, "
            "inputs) or (examples, steps, inputs), y (examples) or (examples, targets), neither of them empty."
        )
    tasks = _texts(arrays, "task", path)
    named = _texts(arrays, "split", path) if "split" in arrays else None
    lengths = {"x": len(x), "y": len(y), "task": len(tasks), **({} if named is None else {"split": len(named)})}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"{path}: the arrays have different numbers of examples: {counts}.")
    return TableContent(x, y, tasks, _splits(tasks, named, path))


def _floats(array: Array, name: str, path: Path) -> Any:
    import numpy as np

    if array.dtype.kind not in "fiu":
        raise DataError(f"{path}: {name} is {array.dtype}; it must be numbers.")
    with np.errstate(over="ignore"):
        values = np.array(array, np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{path}: {name} has values that are not finite as float32.")
    return values


def _texts(arrays: Mapping[str, Array], name: str, path: Path) -> list[str]:
    array = arrays[name]
    if array.ndim != 1 or array.dtype.kind not in "iuU":
        raise DataError(
            f"{path}: {name} is {array.dtype} of shape {array.shape}; it must be one whole number or text for each "
            "example."
        )
    width = 1 if array.dtype.kind == "U" else max((len(str(n)) for n in array.tolist()), default=1)
    return [str(value).zfill(width) if array.dtype.kind != "U" else str(value) for value in array.tolist()]


def _splits(tasks: list[str], named: list[str] | None, path: Path) -> dict[Split, list[str]] | None:
    """The tasks of each split, sorted, where each example names its split."""
    if named is None:
        return None
    owner: dict[str, str] = {}
    for task, split in zip(tasks, named, strict=True):
        if split not in SPLITS:
            raise DataError(f"{path}: split is {split!r} for task {task}; it must be {', '.join(SPLITS)}.")
        if owner.setdefault(task, split) != split:
            raise DataError(
                f"{path}: task {task} is in {owner[task]} and in {split}. In meta-learning the tasks of the splits "
                "must differ: new tasks are what is tested."
            )
    splits: dict[Split, list[str]] = {s: sorted(task for task, split in owner.items() if split == s) for s in SPLITS}
    empty = [split for split in SPLITS if not splits[split]]
    if empty:
        raise DataError(f"{path}: no task is in {empty[0]}. Give each split a task, or leave the split out.")
    return splits
