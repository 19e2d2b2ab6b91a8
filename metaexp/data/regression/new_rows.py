"""New examples of one regression task in a CSV, by the names of their columns. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from metaexp.core.counted import listed
from metaexp.core.errors import DataError
from metaexp.data.files.csv_rows import read_rows, unused
from metaexp.data.regression.columns import IF_MISSING, exact_table, finite_number, lettered_columns, lost_digits

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class NewRows(NamedTuple):
    """The lines of a file.

    Attributes:
        x: (B, D) float32, finite.
        y: (B, D_out) float32, finite; None if targets were not asked for.
        notes: Lines about columns that are not read, and digits that float32 loses.
    """

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.float32] | None
    notes: tuple[str, ...]


def read_new_rows(
    path: Path, inputs: Sequence[str] | None, targets: Sequence[str] | None, task: str | None, *, needs_y: bool
) -> NewRows:
    """Read inputs, and perhaps targets, from a CSV like the one that a run was trained on.

    Args:
        path: The file. It needs no column of the task; if it has one, all lines must name the same task.
        inputs: The columns of x, in order; None for x, or x0, x1, ...
        targets: The columns of y, in order; None for y, or y0, y1, ...
        task: The column of the task; None for ``task``.
        needs_y: Whether targets are read. If not, the file may lack them.

    Raises:
        DataError: The file has no lines, lacks a column, has a cell that is not a finite number, or has several tasks.
    """
    import numpy as np

    header, rows = read_rows(path)
    if not rows:
        raise DataError(f"{path} has no examples. Give each a line with its inputs.")
    x_names = lettered_columns("x", inputs, header, path)
    y_names = lettered_columns("y", targets, header, path) if needs_y else []
    task = "task" if task is None else task
    _refuse_several_tasks([row[header.index(task)] for _, row in rows] if task in header else [], task, path)
    read = {*x_names, *y_names}
    expected = {task, "split", *(() if needs_y else targets or _like_y(header))}
    notes = unused({name: None for name in header if name not in expected}, read, (), path)
    places = [header.index(name) for name in (*x_names, *y_names)]
    exact = exact_table(
        [[finite_number(row[place], header[place], line, path, IF_MISSING) for place in places] for line, row in rows]
    )
    notes += lost_digits(exact, [""] * len(rows), [*x_names, *y_names], path)
    values, n = exact.astype(np.float32), len(x_names)
    return NewRows(values[:, :n], values[:, n:] if needs_y else None, tuple(notes))


def _refuse_several_tasks(tasks: Sequence[str], column: str, path: Path) -> None:
    """Refuse lines of several tasks: a learner adapts to one."""
    names = list(dict.fromkeys(tasks))
    if len(names) > 1:
        raise DataError(
            f"{path} has several tasks in the column {column} ({listed(names, 3)}). A learner adapts to one task, and "
            "predicts for it: keep the lines of one."
        )


def _like_y(header: Sequence[str]) -> list[str]:
    """The columns that would be targets, which queries may have."""
    return [name for name in header if name.rstrip("0123456789_") == "y"]
