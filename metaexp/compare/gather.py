"""Reads the runs below some folders, and says which of them can be compared."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from metaexp.compare.find import run_folders
from metaexp.compare.statistics.effects import Array
from metaexp.core.counted import counted
from metaexp.core.disk.errors import explain_disk_errors
from metaexp.core.errors import RunFolderError
from metaexp.core.json_lines import METRICS_FILE, last_step
from metaexp.results.episodes import EPISODES_FILE, METRICS_OF_EPISODES, read_domains, read_metric, tested_episodes
from metaexp.results.evaluations import as_trained
from metaexp.results.job_note import why_no_record
from metaexp.results.own_code import codes_used
from metaexp.results.per_class.files import CLASSES_FILE, ClassResult, read_classes
from metaexp.results.privacy import clean_text
from metaexp.results.record import RECORD_FILE, RunRecord, Score, read_record


@dataclass(frozen=True)
class GatheredRun:
    """A tested run.

    Attributes:
        folder: The run folder.
        record: Its record.
        per_step: (steps + 1, E), the metric of every test episode after every adaptation step.
        test: The test score, of the record or of a later test.
        bank: The hash of the test episodes.
        domains: The dataset of every test episode (E,) in a mixture; empty for other data.
        classes: The answers for each class, where ``eval.metrics`` had ``per_class``; else empty.
        is_later: Whether it is a later test on other tasks than those of training and validation.
    """

    folder: Path
    record: RunRecord
    per_step: Array
    test: Score
    bank: str
    domains: tuple[str, ...] = ()
    classes: tuple[ClassResult, ...] = ()
    is_later: bool = False

    @property
    def values(self) -> Array:
        """(E,): the metric after the last adaptation step."""
        return np.asarray(self.per_step[-1])


@dataclass(frozen=True)
class LeftOut:
    """A run folder that is not compared, and why. Without paths of the machine, since the page shows it."""

    name: str
    reason: str


@dataclass(frozen=True)
class Gathered:
    """The runs that can be compared, in the order of their folders, and the rest."""

    runs: list[GatheredRun]
    left_out: list[LeftOut]


@explain_disk_errors()
def gather(paths: Sequence[Path], metric: str | None = None) -> Gathered:
    """Read every run in or below some paths.

    Args:
        paths: Run folders, or folders that contain some.
        metric: A metric of ``eval.metrics`` to compare in place of the accuracy or the squared error.

    Raises:
        RunFolderError: A path has no run in or below it.
    """
    runs: list[GatheredRun] = []
    left_out: list[LeftOut] = []
    unreadable: list[Path] = []
    removed: list[Path] = []
    folders = run_folders(paths, unreadable, removed)
    left_out += [LeftOut(folder.name, "cannot be read") for folder in unreadable]
    for folder in [*folders, *removed]:
        if not os.path.lexists(folder / RECORD_FILE):
            left_out.append(LeftOut(folder.name, clean_text(why_no_record(folder).replace(f"{folder}/", ""))))
            continue
        try:
            record = read_record(folder)
            reason = _unusable(folder, record)
            if reason:
                left_out.append(LeftOut(folder.name, clean_text(reason)))
            else:
                runs.append(_read(folder, record) if metric is None else _read_metric(folder, record, metric))
        except (RunFolderError, PermissionError) as error:
            left_out.append(LeftOut(folder.name, clean_text(str(error).replace(f"{folder}/", ""))))
    return _without_duplicates(runs, left_out)


def _unusable(folder: Path, record: RunRecord) -> str:
    """Why a run cannot be compared; an empty text if it can."""
    if record.status == "failed":
        return f"failed after {counted(record.steps, 'step')}: {record.error or 'no message'}"
    if record.status != "completed":
        done = "is still running, or was killed," if record.status == "running" else "was interrupted"
        steps = max(
            record.steps, last_step(folder / METRICS_FILE)
        )  # the record of a killed run is that of its beginning
        return f"{done} after {counted(steps, 'step')}"
    return ""


def _read(folder: Path, record: RunRecord) -> GatheredRun:
    """Read a run with its test, or with a later test under its own settings if it ended before one.

    Raises RunFolderError where there is none, or the episodes are missing or are not those of the record.
    """
    if record.test is not None and record.episode_bank is not None:
        per_step = _episodes(folder / EPISODES_FILE, record.test, record.test_episodes_sha256)
        domains = tuple(read_domains(folder / EPISODES_FILE))
        return GatheredRun(
            folder, record, per_step, record.test, record.episode_bank, domains, _classes(folder, record)
        )
    later = as_trained(folder, record)
    if later is None:
        raise RunFolderError("was not tested (eval.test=false); `metaexp evaluate` tests a run that was chosen.")
    test = later.evaluation.test
    per_step = _episodes(later.episodes, test, later.evaluation.episodes_sha256)
    domains, classes = tuple(read_domains(later.episodes)), tuple(later.read_classes())
    return GatheredRun(folder, record, per_step, test, later.evaluation.episode_bank, domains, classes)


def _read_metric(folder: Path, record: RunRecord, metric: str) -> GatheredRun:
    """Read a run with a further metric of its test, which was measured after the last step of adaptation."""
    score = next((score for score in record.metrics if score.metric == metric), None)
    if score is None or record.episode_bank is None:
        raise RunFolderError(
            f"was tested without {metric}. Train with 'eval.metrics=[{metric}]'."
            if record.test is not None
            else "was not tested (eval.test=false)."
        )
    values = read_metric(folder / METRICS_OF_EPISODES, score)
    check_several(score)
    domains = tuple(read_domains(folder / EPISODES_FILE)) if record.domains else ()
    per_step = np.array([values], dtype=np.float64)
    return GatheredRun(folder, record, per_step, score, record.episode_bank, domains, _classes(folder, record))


def _classes(folder: Path, record: RunRecord) -> tuple[ClassResult, ...]:
    return tuple(read_classes(folder / CLASSES_FILE, record.test_classes_sha256))


def _episodes(path: Path, test: Score, sha256: str | None) -> Array:
    """Read a file of episodes, (steps + 1, E), and check that it is the one that was recorded."""
    per_step = np.array(tested_episodes(path, test, sha256), dtype=np.float64)
    check_several(test)
    return per_step


def check_several(test: Score) -> None:
    """Raise RunFolderError when a test has one episode, which gives no interval."""
    if test.n_episodes < 2:
        raise RunFolderError(f"was tested on {test.n_episodes} episode; an interval needs at least two.")


def _without_duplicates(runs: Sequence[GatheredRun], left_out: list[LeftOut]) -> Gathered:
    """Keep the last of several runs of one configuration, seed, own code and parent."""
    groups: defaultdict[tuple[str, int, str | None, str], list[GatheredRun]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.record.finished or ""):
        branch = run.record.parent.branch if run.record.parent else None
        key = (run.record.config_hash, run.record.seed, branch, " ".join(codes_used(run.record)))
        groups[key].append(run)
    for *others, last in groups.values():
        for run in others:
            same = np.array_equal(run.per_step, last.per_step) and run.bank == last.bank
            numbers = "with the same numbers" if same else "with OTHER numbers: `metaexp why` tells what differs"
            name, other = _apart(run.folder, last.folder)
            left_out.append(LeftOut(name, f"is the same configuration and seed as {other}, {numbers}"))
    kept = {id(group[-1]) for group in groups.values()}
    return Gathered([run for run in runs if id(run) in kept], left_out)


def _apart(first: Path, second: Path) -> tuple[str, str]:
    """The names of two folders, with those of their parents where they are called the same."""
    if first.name != second.name:
        return first.name, second.name
    names = [f"{folder.absolute().parent.name}/{folder.name}" for folder in (first, second)]
    return names[0], names[1]


def with_test(run: GatheredRun, test: Score, bank: str, per_step: Array) -> GatheredRun:
    """Return a run with the results of a later test of the same weights.

    Args:
        run: The run.
        test: The score of the later test.
        bank: The hash of its episode bank.
        per_step: The metric of every episode, (steps + 1, n_episodes).
    """
    return replace(run, test=test, bank=bank, per_step=per_step, domains=(), classes=())
