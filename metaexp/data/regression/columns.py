"""The columns of a file of regression tasks: numbers, names of tasks and splits. Without torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaexp.core.errors import DataError
from metaexp.core.shapes import SPLITS, Split
from metaexp.data.files.csv_rows import format_names
from metaexp.data.values.refused_values import FOR_NAMES, label_advice, number_advice, number_in, spelling_advice

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.generic]

IF_MISSING = "If a value is missing, leave out the line, or fill it in."
_MOST_LOSS = 0.01
"""The part of a column's variation that rounding may take without a warning."""
_CONSTANT = 1e-12
"""A column that varies by less than this, relative to its size, is constant within tasks: 0.3 and 0.1 + 0.2 are
equal."""
_EXACT = 2**53
"""From here on a float64 does not hold every whole number."""


def lettered_columns(letter: str, given: Sequence[str] | None, header: list[str], path: Path) -> list[str]:
    """Return the names of the columns of x or of y, in order.

    Args:
        letter: ``x`` or ``y``.
        given: The names that the configuration gives; None for the letter, or the letter with numbers.
        header: The columns of the file.
        path: The file, for messages.

    Raises:
        DataError: A column is missing, or the names do not say which columns are meant.
    """
    key = "inputs" if letter == "x" else "targets"
    if given is not None:
        missing = [name for name in given if name not in header]
        if missing:
            raise DataError(f"dataset.{key} names {missing[0]}; {path} has the columns {format_names(header)}.")
        twice = next((name for name in given if given.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"dataset.{key} names {twice} twice. Name each column once.")
        return list(given)
    numbered = [name for name in header if re.fullmatch(rf"{letter}_?\d+", name)]
    if letter in header and numbered:
        raise DataError(f"{path} has both {letter} and {numbered[0]}. Name the columns in dataset.{key}.")
    found = [letter] if letter in header else sorted(numbered, key=lambda name: int(re.sub(r"\D", "", name)))
    if not found:
        raise DataError(
            f"{path} has no column {letter}, and none called {letter}0, {letter}1, ...; it has {format_names(header)}. "
            f"Name the columns in dataset.{key}."
        )
    return found


def refuse_shared(inputs: Sequence[str], targets: Sequence[str]) -> None:
    """Refuse a column that is both an input and a target: the network would be given what it is asked for.

    Args:
        inputs: The columns of x.
        targets: The columns of y.

    Raises:
        DataError: There is one.
    """
    shared = next((name for name in inputs if name in targets), None)
    if shared is not None:
        raise DataError(
            f"{shared} is an input and a target, so the network would be given what it is asked for. Take it out of "
            "dataset.inputs or of dataset.targets."
        )


def place_of(name: str, header: list[str], path: Path, advice: str) -> int:
    """Return the number of a column.

    Args:
        name: Its name.
        header: The columns of the file.
        path: The file, for messages.
        advice: What to do where there is none of the name.

    Raises:
        DataError: There is no such column.
    """
    if name not in header:
        raise DataError(f"{path} has no column {name}; it has {format_names(header)}. {advice}")
    return header.index(name)


def named_place(key: str, given: str | None, header: list[str], path: Path, advice: str) -> int:
    """Return the number of a column that a key of the configuration may name.

    Args:
        key: The key, and the name of the column where the key is not given.
        given: The name that the configuration gives; None for that of the key.
        header: The columns of the file.
        path: The file, for messages.
        advice: What to do where the key is not given, and there is no such column.

    Raises:
        DataError: There is no such column.
    """
    if given is None:
        return place_of(key, header, path, f"{advice} Or name the column in dataset.{key}.")
    if given not in header:
        raise DataError(f"dataset.{key} names {given}; {path} has the columns {format_names(header)}.")
    return header.index(given)


def finite_number(text: str, column: str, line: int, path: Path, missing: str) -> float | int:
    """Return the number in a cell: an int if it is a whole number that a float64 may not hold.

    Args:
        text: What the cell holds.
        column: Its column, for messages.
        line: Its line, for messages.
        path: The file, for messages.
        missing: What to do where the value is missing, for messages.

    Raises:
        DataError: The text is not a finite number of float32.
    """
    number = number_in(text)
    if not abs(number) < 3.4e38:
        advice = spelling_advice(text) or number_advice(number, missing)
        raise DataError(f"{path}, line {line}: {column} is {text!r}; it must be a finite number (float32). {advice}")
    return int(text) if abs(number) >= _EXACT and re.fullmatch(r"\s*[+-]?[0-9]+\s*", text) else number


def exact_table(rows: Sequence[Sequence[float | int]]) -> npt.NDArray[Any]:
    """Return numbers (B, D) of cells as float64; as Python objects if some are whole numbers that it may not hold.

    Args:
        rows: The numbers of each line, as :func:`finite_number` gives them.
    """
    import numpy as np

    is_exact = not any(isinstance(number, int) for row in rows for number in row)
    return np.array(rows, np.float64 if is_exact else object)


def lost_digits(exact: npt.NDArray[Any], groups: Sequence[str], names: Sequence[str], path: Path) -> list[str]:
    """Return a warning for each column whose values float32 cannot tell apart, such as times in seconds since 1970.

    Args:
        exact: The values (B, D) or (B, L, D) as the file has them; nan where one is missing.
        groups: The task or series of each (B).
        names: The names of the columns (D).
        path: The file, for messages.
    """
    import numpy as np

    place = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    inside = np.repeat([place[name] for name in groups], exact[..., 0].size // max(len(exact), 1))
    found = []
    for column, name in enumerate(names):
        cells = exact[..., column].ravel()
        known = ~np.isnan(cells.astype(np.float64))
        of = inside[known]
        values, errors, noise = _losses(cells[known])
        means = np.bincount(of, values) / np.maximum(np.bincount(of), 1)
        spread, error = (float(np.sqrt(np.mean(v**2))) if len(of) else 0.0 for v in (values - means[of], errors))
        if spread > noise and error > _MOST_LOSS * spread:
            found.append(
                f"Warning: {path}: float32 rounds {name} by {error:.3g}, and it varies by {spread:.3g} within a task: "
                "values that differ become the same. Subtract an offset in the file, such as the first time."
            )
    return found


def _losses(cells: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], float]:
    """Numbers (n) as float64, perhaps less an offset; what float32 loses of each (n); by how much equal ones differ."""
    import numpy as np

    is_large = cells.dtype.kind == "O" or (
        cells.dtype.kind in "iu" and cells.size > 0 and max(-int(cells.min()), int(cells.max())) >= _EXACT
    )
    if not is_large:
        values = cells.astype(np.float64)
        return values, np.abs(values.astype(np.float32) - values), _CONSTANT * float(np.abs(values).max(initial=0.0))
    exact, rounded = cells.tolist(), cells.astype(np.float32).tolist()  # Python's whole numbers are exact
    errors = [
        abs((int(near) if isinstance(number, int) else near) - number)
        for number, near in zip(exact, rounded, strict=True)
    ]
    offset = exact[0] if exact else 0
    return np.array([float(number - offset) for number in exact]), np.array(errors, np.float64), 0.0


def require_arrays(arrays: Mapping[str, Array], names: Sequence[str], path: Path, advice: str) -> None:
    """Refuse a file that lacks an array.

    Args:
        arrays: The arrays of the file.
        names: Those that it must have.
        path: The file, for messages.
        advice: What to do where one is missing.

    Raises:
        DataError: An array is missing.
    """
    for name in names:
        if name not in arrays:
            raise DataError(f"{path} has no array {name}; it has {', '.join(sorted(arrays)) or 'none'}. {advice}")


def require_equal_lengths(parts: Mapping[str, Sized | None], what: str, path: Path) -> None:
    """Refuse arrays of different lengths.

    Args:
        parts: The name of each array -> its entries; None for an array that the file lacks.
        what: What an entry is, in the plural.
        path: The file, for messages.

    Raises:
        DataError: The lengths differ.
    """
    lengths = {name: len(part) for name, part in parts.items() if part is not None}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"{path}: the arrays have different numbers of {what}: {counts}.")


def text_array(arrays: Mapping[str, Array], name: str, path: Path) -> list[str]:
    """Return an array (B) of names as text. Whole numbers get leading zeros, so that their order stays.

    Args:
        arrays: The arrays of the file.
        name: The name of this one.
        path: The file, for messages.

    Raises:
        DataError: The array is neither text nor whole numbers.
    """
    array = arrays[name]
    if array.ndim != 1 or array.dtype.kind not in "iuU":
        raise DataError(
            f"{path}: {name} is {array.dtype} of shape {array.shape}; it must be one whole number or text for each "
            f"example. {label_advice(array, name, FOR_NAMES)}"
        )
    width = 1 if array.dtype.kind == "U" else max((len(str(n)) for n in array.tolist()), default=1)
    return [str(value).zfill(width) if array.dtype.kind != "U" else str(value) for value in array.tolist()]


def splits_of_tasks(
    tasks: list[str], named: list[str] | None, path: Path, word: str = "task"
) -> dict[Split, list[str]] | None:
    """Return the tasks of each split, sorted.

    Args:
        tasks: The task of each example (B).
        named: The split of each example (B); None where the file has none, and None is returned.
        path: The file, for messages.
        word: What messages call a task.

    Raises:
        DataError: A split has no task, a task is in two, or a name is that of no split.
    """
    if named is None:
        return None
    owner: dict[str, str] = {}
    for task, split in zip(tasks, named, strict=True):
        if split not in SPLITS:
            raise DataError(f"{path}: split is {split!r} for {word} {task}; it must be {', '.join(SPLITS)}.")
        if owner.setdefault(task, split) != split:
            raise DataError(
                f"{path}: {word} {task} is in {owner[task]} and in {split}. In meta-learning the tasks of the splits "
                "must differ: new tasks are what is tested."
            )
    splits: dict[Split, list[str]] = {s: sorted(task for task, split in owner.items() if split == s) for s in SPLITS}
    empty = [split for split in SPLITS if not splits[split]]
    if empty:
        raise DataError(f"{path}: no {word} is in {empty[0]}. Give each split one, or leave the split out.")
    return splits
