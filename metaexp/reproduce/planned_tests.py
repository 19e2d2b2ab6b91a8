"""Finds the published runs of a row, and plans the tests of their weights. Without torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from metaexp.config.accelerators import computes_on_cpu
from metaexp.core.disk.nearest import format_nearest_path
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.core.intervals import mean_interval
from metaexp.report.later_tests import overrides_of, record_of_test
from metaexp.report.publish import WEIGHTS
from metaexp.report.rows import SEED_SUFFIX, Entry, grouped
from metaexp.reproduce.retests.queue import WantedTest
from metaexp.results.episodes import EPISODES_FILE, tested_episodes
from metaexp.results.evaluations import published_tests_with_episodes
from metaexp.results.record import RECORD_FILE, Machine, RunRecord, Score, read_record
from metaexp.run.integrity import check_run_files

PUBLISHED = Path("docs/results")
"""Where the published runs of a checkout are."""


def find_row(what: str) -> list[Path]:
    """Return the folders of all seeds of a published row, in the order of their seeds.

    Args:
        what: The folder of one of them, or its name in docs/results.

    Raises:
        ConfigError: There is no such run.
    """
    folder = Path(what).expanduser()
    if not (folder / RECORD_FILE).is_file():
        folder = PUBLISHED / what
    if not (folder / RECORD_FILE).is_file():
        hint = format_nearest_path(Path(what).expanduser(), kind="folder") or format_nearest_path(folder, kind="folder")
        clone = " Published runs are in the repository of metaexp: call this in a clone of it. Or give"
        raise ConfigError(
            f"{what} is neither a run folder nor a published run in {PUBLISHED}.{hint}"
            f"{' Give' if PUBLISHED.is_dir() else clone} the folder of a run, with its weights in checkpoints/."
        )
    folder = folder.resolve()
    near = [path.parent for path in folder.parent.glob(f"{SEED_SUFFIX.sub('', folder.name)}*/{RECORD_FILE}")]
    rows = [row.seeds or (row,) for row in grouped([Entry(path.name, read_record(path), False) for path in near])]
    return next([folder.parent / run.name for run in runs] for runs in rows if folder.name in {r.name for r in runs})


class PlannedTest(NamedTuple):
    """A test that is to be made again.

    Attributes:
        folder: The run folder.
        whole: The record of what was tested. Where only the first episodes are to be tested, its score is computed from
            its file of episodes.
        compared: The record, with the score of the episodes that are to be tested; ``whole`` itself if these are all.
        changes: What the test changes in the settings of the run.
        wanted: The test to be made.
    """

    folder: Path
    whole: RunRecord
    compared: RunRecord
    changes: tuple[str, ...]
    wanted: WantedTest


def plan_test(folder: Path, overrides: Sequence[str] = (), n_episodes: int | None = None) -> PlannedTest:
    """Plan a test of the selected weights of a run on the episodes of its record.

    Args:
        folder: The run folder.
        overrides: Where the data are, and the device.
        n_episodes: Test only so many of the episodes, the first; None for all.

    Raises:
        RunFolderError: The run was not tested, has no weights or was changed.
    """
    record = read_record(folder)
    check_run_files(folder, record)
    if record.status != "completed" or record.test is None:
        raise RunFolderError(f"{folder} is not a completed run with a test result. There is nothing to compare with.")
    missing = [name for name in WEIGHTS if not (folder / name).is_file()]
    if missing:
        raise RunFolderError(f"{missing[0]} is missing, so nothing shows that the number is right.")
    read = partial(tested_episodes, folder / EPISODES_FILE, record.test, record.test_episodes_sha256)
    whole, compared = _whole_and_compared(record, lambda: read()[-1], n_episodes)
    return _planned(folder, whole, compared, record.device, (), [*device_here(record), *overrides])


def plan_later_tests(folder: Path, overrides: Sequence[str] = (), n_episodes: int | None = None) -> list[PlannedTest]:
    """Plan the published later tests of a run's weights again.

    Args:
        folder: The published run, for which :func:`plan_test` has planned a test.
        overrides: Where the data are, and the device.
        n_episodes: Test only so many of the episodes, the first; None for all.

    Raises:
        RunFolderError: A later test is damaged.
    """
    record = read_record(folder)
    here, planned = [*device_here(record), *overrides], []
    for test, values in published_tests_with_episodes(folder, record):
        whole, compared = _whole_and_compared(record_of_test(test, record), partial(list, values), n_episodes)
        planned.append(_planned(folder, whole, compared, test.device, overrides_of(test), here))
    return planned


def _whole_and_compared(
    record: RunRecord, read: Callable[[], Sequence[float]], n_episodes: int | None
) -> tuple[RunRecord, RunRecord]:
    """The record of all episodes, and the one to compare with: the same, or that of the first episodes only.

    Args:
        record: What is recorded.
        read: Returns the metric of each recorded episode. It is called only where a part is compared.
        n_episodes: How many episodes are tested; None for all.
    """
    assert record.test is not None
    if n_episodes is None or n_episodes >= record.test.n_episodes:
        return record, record
    values = read()
    return _with_first(record, values, len(values)), _with_first(record, values, n_episodes)


def _with_first(record: RunRecord, values: Sequence[float], n_episodes: int) -> RunRecord:
    """The record with the score of its first episodes only."""
    assert record.test is not None
    score = Score(record.test.metric, *mean_interval(values[:n_episodes]), n_episodes)
    return dataclasses.replace(record, test=score)


def device_here(record: RunRecord) -> list[str]:
    """Return the override that a test needs where the run required an accelerator that this machine has not.

    Args:
        record: The record of the run.
    """
    from metaexp.machine.device import available

    device = record.config.get("device")
    required = device.get("accelerator") if isinstance(device, Mapping) else None
    return [] if required in (None, "auto", *available()) else ["device.accelerator=auto"]


def _planned(
    folder: Path,
    whole: RunRecord,
    compared: RunRecord,
    device: Machine | None,
    changes: tuple[str, ...],
    overrides: Sequence[str],
) -> PlannedTest:
    """The test with ``changes`` to the settings of the run, on the episodes of the score in ``compared``."""
    assert compared.test is not None
    threads = device.threads if device else 1
    first = [] if compared is whole else [f"eval.episodes={compared.test.n_episodes}"]
    section = compared.config.get("device")
    accelerator = section.get("accelerator") if isinstance(section, Mapping) else None
    given = [item.rpartition("=")[2] for item in overrides if item.startswith(("device=", "device.accelerator="))]
    task = compared.task
    kind = (compared.algorithm, compared.model, compared.dataset, task, changes)
    wanted = WantedTest(
        name=" ".join([folder.name, *changes]),
        folder=folder,
        overrides=(*changes, *first, f"device.threads={threads}", *overrides),
        n_episodes=compared.test.n_episodes,
        threads=threads,
        is_on_cpu=computes_on_cpu([str(accelerator or "auto"), *given][-1]),
        data=json.dumps(compared.config.get("dataset"), sort_keys=True),
        kind=str(kind),
        n_examples=max(1, task.n_way) * (task.k_shot + task.n_query),
    )
    return PlannedTest(folder, whole, compared, changes, wanted)
