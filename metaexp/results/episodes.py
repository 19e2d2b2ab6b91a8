"""The test metric of every episode of a run, so that two runs can be compared pair by pair. Without torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from metaexp.core.errors import RunFolderError
from metaexp.core.files import read_regular, write_atomically

EPISODES_FILE = "test_episodes.csv"


def write_episodes(path: Path, per_step: Sequence[Sequence[float]]) -> None:
    """Write one line per episode: its index, then the metric after 0, 1, ... adaptation steps.

    Numbers read back as the same float64.

    Args:
        path: The file.
        per_step: (steps + 1, n_episodes), the metric.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["episode", *(f"after_{step}" for step in range(len(per_step)))])
    for episode, values in enumerate(zip(*per_step, strict=True)):
        writer.writerow([episode, *(repr(float(value)) for value in values)])
    write_atomically(path, text.getvalue().encode())


def read_episodes(path: Path) -> list[list[float]]:
    """Read the metric of every episode.

    Returns:
        (steps + 1, n_episodes), the metric after every adaptation step.

    Raises:
        RunFolderError: The file is missing or damaged.
    """
    try:
        text = read_regular(path).decode()
        header, *rows = list(csv.reader(io.StringIO(text, newline="")))
        if header != ["episode", *(f"after_{step}" for step in range(len(header) - 1))]:
            raise ValueError(f"the columns are {', '.join(header)}")
        values = [[float(cell) for cell in row[1:]] for row in rows]
        numbered = [row[0] for row in rows] == [str(i) for i in range(len(rows))]
        if not numbered or {len(row) for row in rows} != {len(header)}:
            raise ValueError("the episodes are not complete")
    except FileNotFoundError:
        raise RunFolderError(f"{path} is missing: the run was not tested.") from None
    except ValueError as error:
        raise RunFolderError(f"{path} is damaged: {error}.") from error
    return [list(column) for column in zip(*values, strict=True)]
