"""Finding runs below some folders, and what of them can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from metaexp.core.errors import RunFolderError
from metaexp.results.compare.effects import Array
from metaexp.results.episodes import EPISODES_FILE, read_episodes
from metaexp.results.record import RECORD_FILE, RunRecord, Score, read_record

DEPTH = 4
"""Run folders are looked for this many levels below a sweep's folder."""


@dataclass(frozen=True)
class Run:
    """A tested run. per_step (steps + 1, E): the metric of every test episode after every adaptation step.

    test, bank: those of the record, or of a later test on another bank (``retested``).
    """

    folder: Path
    record: RunRecord
    per_step: Array
    test: Score
    bank: str
    retested: bool = False

    @property
    def values(self) -> Array:
        """(E,): the metric after the last adaptation step."""
        return np.asarray(self.per_step[-1])


@dataclass(frozen=True)
class LeftOut:
    """A run folder that is not compared, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Gathered:
    """The runs that can be compared, in the order of their folders, and the rest."""

    runs: list[Run]
    left_out: list[LeftOut]


def gather(paths: Sequence[Path]) -> Gathered:
    """Read every run in or below ``paths``. Raises RunFolderError for a path that is or holds no run."""
    runs: list[Run] = []
    left_out: list[LeftOut] = []
    for folder in run_folders(paths):
        try:
            record = read_record(folder)
            reason = _unusable(record)
            if reason:
                left_out.append(LeftOut(folder.name, reason))
            else:
                runs.append(_read(folder, record))
        except RunFolderError as error:
            left_out.append(LeftOut(folder.name, str(error).replace(f"{folder}/", "")))
    return _without_duplicates(runs, left_out)


def run_folders(paths: Sequence[Path]) -> list[Path]:
    """The folders with a record in or below ``paths``, each once. Raises RunFolderError where there is none."""
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise RunFolderError(f"{path}: there is no such folder. Give run folders, or a folder that holds some.")
        below = _below(path if path.is_dir() else path.parent, DEPTH)
        if not below:
            raise RunFolderError(
                f"{path} is not a run folder, and no {RECORD_FILE} lies within {DEPTH} levels below it."
            )
        for folder in below:
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


def _below(folder: Path, depth: int) -> list[Path]:
    if (folder / RECORD_FILE).is_file():
        return [folder]
    if depth == 0:
        return []
    inner = sorted(item for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))
    return [found for item in inner for found in _below(item, depth - 1)]


def _unusable(record: RunRecord) -> str:
    """Why a record has nothing to compare, or nothing."""
    if record.status == "failed":
        return f"failed after {record.steps:,} updates: {record.error or 'no message'}"
    if record.status != "completed":
        done = "is still running, or was killed," if record.status == "running" else "was interrupted"
        return f"{done} after {record.steps:,} updates"
    if record.test is None or record.episode_bank is None:
        return "was not tested"
    return ""


def _read(folder: Path, record: RunRecord) -> Run:
    """Raises RunFolderError where the episodes are missing or are not those of the record."""
    per_step = np.array(read_episodes(folder / EPISODES_FILE), dtype=np.float64)
    assert record.test is not None
    assert record.episode_bank is not None
    n_episodes = per_step.shape[-1] if per_step.ndim == 2 else 0
    if n_episodes != record.test.n_episodes:
        raise RunFolderError(
            f"{EPISODES_FILE} has {n_episodes} episodes where {RECORD_FILE} says {record.test.n_episodes}."
        )
    if n_episodes < 2:
        raise RunFolderError(f"was tested on {n_episodes} episode; an interval needs at least two.")
    if not np.isfinite(per_step[-1]).all() or abs(per_step[-1].mean() - record.test.mean) > 1e-6 * (
        1 + abs(record.test.mean)
    ):
        raise RunFolderError(f"the mean of {EPISODES_FILE} is not the test result of {RECORD_FILE}.")
    return Run(folder, record, per_step, record.test, record.episode_bank)


def _without_duplicates(runs: Sequence[Run], left_out: list[LeftOut]) -> Gathered:
    """Of runs of one configuration and seed, the one that finished last."""
    chosen: dict[tuple[str, int], Run] = {}
    for run in sorted(runs, key=lambda run: run.record.finished or ""):
        key = (run.record.config_hash, run.record.seed)
        if key in chosen:
            earlier = chosen[key]
            same = np.array_equal(earlier.per_step, run.per_step) and earlier.bank == run.bank
            numbers = "with the same numbers" if same else "with OTHER numbers: `metaexp why` tells what differs"
            left_out.append(
                LeftOut(earlier.folder.name, f"is the same configuration and seed as {run.folder.name}, {numbers}")
            )
        chosen[key] = run
    kept = set(map(id, chosen.values()))
    return Gathered([run for run in runs if id(run) in kept], left_out)


def with_test(run: Run, test: Score, bank: str, per_step: Array) -> Run:
    """``run`` with the results of a later test of the same weights."""
    return replace(run, test=test, bank=bank, per_step=per_step, retested=True)
