"""Regression tasks in a CSV or .npz file: inputs, targets and the task of each example. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metaexp.core.errors import DataError
from metaexp.core.shapes import Split
from metaexp.data.files.csv_rows import read_rows, unused
from metaexp.data.files.folder_scan import refuse_special
from metaexp.data.files.npz import read_npz
from metaexp.data.regression.columns import (
    IF_MISSING,
    exact_table,
    finite_number,
    lettered_columns,
    lost_digits,
    named_place,
    refuse_shared,
    require_arrays,
    require_equal_lengths,
    splits_of_tasks,
    text_array,
)
from metaexp.data.values.refused_values import refuse_not_finite

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.generic]
    Floats = npt.NDArray[np.float32]

_ADVICE = "Give each example its task in a column (or array) called task, its inputs in x and its targets in y."
_KNOWN = ("task", "split")


class TableContent(NamedTuple):
    """The examples of a file, in its order.

    Attributes:
        x: (B, D) or (B, L, D) float32, finite.
        y: (B, D_out) float32, finite.
        inputs: The names of the inputs (D).
        targets: The names of the targets (D_out).
        tasks: The task of each example (B).
        splits: The tasks of each split; None where the file does not say.
        without: Tasks that have no example.
        notes: Lines that say what was left out, and what float32 loses.
        forecast: The columns of x that y continues, step by step; empty if it does not.
    """

    x: Floats
    y: Floats
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    tasks: list[str]
    splits: dict[Split, list[str]] | None
    without: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    forecast: tuple[int, ...] = ()


def read_table(
    path: Path, inputs: Sequence[str] | None, targets: Sequence[str] | None, task: str | None = None
) -> TableContent:
    """Read a CSV or .npz file.

    Args:
        path: The file; ``.npz`` is read as arrays, everything else as CSV with a header.
        inputs: The columns of x in a CSV, in order; None for x, or x0, x1, ...
        targets: The columns of y in a CSV, in order; None for y, or y0, y1, ...
        task: The column of the task in a CSV; None for task.

    Raises:
        DataError: Columns or arrays are missing, of another kind, not finite, or do not fit together; a task is in two
            splits.
    """
    refuse_special(path)
    if path.suffix.lower() == ".npz":
        named = {"inputs": inputs, "targets": targets, "task": task}
        if key := next((key for key, name in named.items() if name is not None), None):
            raise DataError(
                f"dataset.{key} names columns of a CSV; {path} has the arrays x, y and task. Set it to null."
            )
        return _from_arrays(path)
    return _from_csv(path, inputs, targets, task)


def _from_csv(
    path: Path, inputs: Sequence[str] | None, targets: Sequence[str] | None, task_name: str | None
) -> TableContent:
    import numpy as np

    header, rows = read_rows(path)
    if not rows:
        raise DataError(f"{path} has no examples. {_ADVICE}")
    x_names, y_names = lettered_columns("x", inputs, header, path), lettered_columns("y", targets, header, path)
    refuse_shared(x_names, y_names)
    task = named_place("task", task_name, header, path, _ADVICE)
    known = (header[task], "split")
    nameless = next((line for line, row in rows if not row[task].strip()), None)
    if nameless is not None:
        raise DataError(f"{path}, line {nameless}: {header[task]} is empty. {_ADVICE}")
    cells = {name: [row[place] for _, row in rows] for place, name in enumerate(header)}
    left = unused(cells, {*known, *x_names, *y_names} & {*header}, known, path)
    split = header.index("split") if "split" in header else None
    numbers = [header.index(name) for name in (*x_names, *y_names)]
    n_empty = sum(any(not row[place].strip() for place in numbers) for _, row in rows)
    missing = IF_MISSING if n_empty < 2 else f"{IF_MISSING} {n_empty} of {len(rows)} lines have such an empty cell."
    exact = exact_table(
        [[finite_number(row[place], header[place], line, path, missing) for place in numbers] for line, row in rows]
    )
    tasks = [row[task] for _, row in rows]
    named = None if split is None else [row[split] for _, row in rows]
    n, values = len(x_names), exact.astype(np.float32)
    notes = left + lost_digits(exact, tasks, [*x_names, *y_names], path)
    return TableContent(
        values[:, :n], values[:, n:], tuple(x_names), tuple(y_names), tasks, splits_of_tasks(tasks, named, path),
        notes=tuple(notes),
    )  # fmt: skip


def _from_arrays(path: Path) -> TableContent:
    arrays = read_npz(path)
    require_arrays(arrays, ("x", "y", "task"), path, _ADVICE)
    x, y = (_floats(arrays[name], name, path) for name in ("x", "y"))
    x, y = x.reshape(len(x), -1) if x.ndim == 1 else x, y.reshape(len(y), -1) if y.ndim == 1 else y
    if x.ndim not in (2, 3) or y.ndim != 2 or 0 in (*x.shape, *y.shape):
        raise DataError(
            f"{path}: x has the shape {arrays['x'].shape} and y {arrays['y'].shape}. x must be (examples), (examples, "
            "inputs) or (examples, steps, inputs), y (examples) or (examples, targets), neither of them empty."
        )
    tasks = text_array(arrays, "task", path)
    named = text_array(arrays, "split", path) if "split" in arrays else None
    require_equal_lengths({"x": x, "y": y, "task": tasks, "split": named}, "examples", path)
    texts = {
        name: array.tolist() if array.dtype.kind == "U" and array.ndim == 1 else None for name, array in arrays.items()
    }
    notes = unused(texts, {"x", "y", *_KNOWN} & {*arrays}, _KNOWN, path, "array")
    inputs, targets = (tuple(f"{name}{i}" for i in range(part.shape[-1])) for name, part in (("x", x), ("y", y)))
    for name, part, columns in (("x", x, inputs), ("y", y, targets)):
        notes += lost_digits(arrays[name].reshape(part.shape), tasks, columns, path)
    splits = splits_of_tasks(tasks, named, path)
    return TableContent(x, y, inputs, targets, tasks, splits, notes=tuple(notes))


def _floats(array: Array, name: str, path: Path) -> Any:
    import numpy as np

    if array.dtype.kind not in "fiu":
        raise DataError(f"{path}: {name} is {array.dtype}; it must be numbers.")
    with np.errstate(over="ignore"):
        values = np.array(array, np.float32)
    refuse_not_finite(values, array, f"{path}: {name}")
    return values
