"""The test metric of every episode of a run, so that two runs can be compared pair by pair. Without torch."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metaexp.core.counted import counted
from metaexp.core.disk.files import read_regular, write_atomically
from metaexp.core.errors import RunFolderError
from metaexp.results.record import RECORD_FILE, RunRecord, Score

EPISODES_FILE = "test_episodes.csv"
METRICS_OF_EPISODES = "test_metrics.csv"
"""The further metrics of every test episode."""
_DOMAIN = "domain"
"""The last column, for a mixture: the dataset of the episode."""


def write_episodes(path: Path, per_step: Sequence[Sequence[float]], domains: Sequence[str] = ()) -> None:
    """Write one line per episode: its index, the metric after 0, 1, ... adaptation steps, and its dataset in a mixture.

    Numbers read back as the same float64.

    Args:
        path: The file.
        per_step: (steps + 1, n_episodes), the metric.
        domains: (n_episodes,), the dataset of each episode; empty for other data than a mixture.
    """
    write_atomically(path, _encode(per_step, domains))


def episodes_sha256(per_step: Sequence[Sequence[float]], domains: Sequence[str] = ()) -> str:
    """Return the SHA-256 (hex) of the file that :func:`write_episodes` writes.

    Args:
        per_step: (steps + 1, n_episodes), the metric.
        domains: (n_episodes,), the dataset of each episode; empty for other data than a mixture.
    """
    return hashlib.sha256(_encode(per_step, domains)).hexdigest()


def _encode(per_step: Sequence[Sequence[float]], domains: Sequence[str]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["episode", *(f"after_{step}" for step in range(len(per_step))), *([_DOMAIN] if domains else [])])
    for episode, values in enumerate(zip(*per_step, strict=True)):
        own = domains[episode : episode + 1]
        writer.writerow([episode, *(repr(float(value)) for value in values), *own])
    return text.getvalue().encode()


def write_metrics(path: Path, values: Mapping[str, Sequence[float]]) -> None:
    """Write one line per episode: its index, then each of the further metrics.

    Args:
        path: The file.
        values: Name -> (n_episodes,).
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["episode", *values])
    for episode, row in enumerate(zip(*values.values(), strict=True)):
        writer.writerow([episode, *(repr(float(value)) for value in row)])
    write_atomically(path, text.getvalue().encode())


def table_of_episodes(
    metric: str,
    per_step: Sequence[Sequence[float]],
    further: Mapping[str, Sequence[float]] | None = None,
    domains: Sequence[str] = (),
) -> tuple[list[str], list[list[Any]]]:
    """Return the test episodes as a table for trackers.

    Args:
        metric: The name of the metric.
        per_step: (steps + 1, n_episodes), the metric.
        further: Name -> (n_episodes,), the further metrics.
        domains: (n_episodes,), the dataset of each episode; empty for other data than a mixture.

    Returns:
        The names of the columns, and a row for each episode: its index, its dataset in a mixture, the metric, the
        further metrics, and the metric after 0, 1, ... steps if the algorithm has steps.
    """
    after = {f"{metric}_after_{step}": values for step, values in enumerate(per_step)} if len(per_step) > 1 else {}
    columns: dict[str, Sequence[Any]] = {
        "episode": range(len(per_step[-1])),
        **({_DOMAIN: domains} if domains else {}),
        metric: per_step[-1],
        **(further or {}),
        **after,
    }
    return list(columns), [list(row) for row in zip(*columns.values(), strict=True)]


def read_metric(path: Path, score: Score) -> list[float]:
    """Read one of the further metrics of every episode, and check it against the score that is said to be its mean.

    Args:
        path: The file that :func:`write_metrics` wrote.
        score: The score in the record.

    Returns:
        The metric (n_episodes,).

    Raises:
        RunFolderError: The file is missing or damaged, or is not that of the score.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_regular(path).decode(), newline="")))
        values = [float(row[score.metric]) for row in rows]
    except FileNotFoundError:
        raise RunFolderError(f"{path} is missing, and {RECORD_FILE} has {score.metric}. Restore it.") from None
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunFolderError(f"{path} is damaged: {type(error).__name__} {error}. Restore it.") from error
    mean = sum(values) / max(len(values), 1)
    if len(values) != score.n_episodes or not abs(mean - score.mean) <= 1e-6 * (1 + abs(score.mean)):
        raise RunFolderError(f"the mean of {score.metric} in {path.name} is not that of {RECORD_FILE}.")
    return values


def tested_episodes(path: Path, test: Score | None, sha256: str | None) -> list[list[float]]:
    """Read the metric of every episode, and check it against the score that is said to be its mean.

    Args:
        path: The file of episodes.
        test: The score in the record; None for a run that was not tested, when nothing is compared.
        sha256: The SHA-256 of the file in the record, hex; None in records that were made before this key.

    Returns:
        The metric (steps + 1, n_episodes).

    Raises:
        RunFolderError: The file is missing or damaged, or is not that of the score.
    """
    if test is not None and not path.exists():
        raise RunFolderError(f"{path} is missing, and {RECORD_FILE} has the mean of its episodes. Restore it.")
    per_step = read_episodes(path)
    if test is None:
        return per_step
    n_episodes = len(per_step[-1]) if per_step else 0
    if n_episodes != test.n_episodes:
        raise RunFolderError(
            f"{path.name} has {counted(n_episodes, 'episode')} where {RECORD_FILE} says {test.n_episodes}."
        )
    mean = sum(per_step[-1]) / max(n_episodes, 1)
    if not abs(mean - test.mean) <= 1e-6 * (1 + abs(test.mean)):  # not a number, too
        raise RunFolderError(f"the mean of {path.name} is not the test result of {RECORD_FILE}.")
    if sha256 is not None and not _has_digest(path, sha256, per_step):
        raise RunFolderError(f"{path} was changed after the test: its SHA-256 is not that of the record. Restore it.")
    return per_step


def _has_digest(path: Path, sha256: str, per_step: Sequence[Sequence[float]] | None = None) -> bool:
    """Whether a file of episodes has this digest, as it is or with the line ends that it was written with.

    Args:
        path: The file.
        sha256: The digest, hex.
        per_step: What is in the file; None if it was not read, which is done only where the bytes differ.
    """
    if hashlib.sha256(read_regular(path)).hexdigest() == sha256:
        return True
    return episodes_sha256(per_step or read_episodes(path), read_domains(path)) == sha256


def check_tested(folder: Path, record: RunRecord) -> None:
    """Check in little time that the test episodes in a run folder are those of its record.

    Args:
        folder: The run folder. It may lack the file.
        record: Its record.

    Raises:
        RunFolderError: The file is of another run, or was changed.
    """
    path = folder / EPISODES_FILE
    if record.test_episodes_sha256 is None or not os.path.lexists(path):
        return
    if not _has_digest(path, record.test_episodes_sha256):
        raise RunFolderError(
            f"{path} is not the file that {RECORD_FILE} was written for: one of the two was changed or is another "
            "run's. Restore it."
        )


def read_episodes(path: Path) -> list[list[float]]:
    """Read the metric of every episode.

    Returns:
        (steps + 1, n_episodes), the metric after every adaptation step.

    Raises:
        RunFolderError: The file is missing or damaged.
    """
    try:
        header, *rows = _lines(path)
        if header[-1:] == [_DOMAIN]:
            header, rows = header[:-1], [row[:-1] for row in rows]
        if header != ["episode", *(f"after_{step}" for step in range(len(header) - 1))]:
            raise ValueError(f"the columns are {', '.join(header)}")
        values = [[float(cell) for cell in row[1:]] for row in rows]
        numbered = [row[:1] for row in rows] == [[str(i)] for i in range(len(rows))]
        if not numbered or {len(row) for row in rows} != {len(header)}:
            raise ValueError("the episodes are not complete")
    except FileNotFoundError:
        raise RunFolderError(f"{path} is missing: the run was not tested.") from None
    except (ValueError, csv.Error) as error:
        raise RunFolderError(f"{path} is damaged: {error}. Restore it.") from error
    return [list(column) for column in zip(*values, strict=True)]


def read_domains(path: Path) -> list[str]:
    """Read the dataset of every episode; empty where the file is not of a mixture.

    Args:
        path: A file that :func:`read_episodes` has read.
    """
    header, *rows = _lines(path)
    return [row[-1] for row in rows] if header[-1:] == [_DOMAIN] else []


def _lines(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(read_regular(path).decode(), newline="")))
