"""Test the weights of published runs again, all seeds of a row, and compare with their records. Nothing is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from metaexp.core.counted import counted
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.core.intervals import mean_interval
from metaexp.report.later_tests import overrides_of, record_of_test
from metaexp.report.publish import WEIGHTS
from metaexp.report.rows import SEED_SUFFIX, Entry, grouped
from metaexp.reproduce.claims import check_claims
from metaexp.results.display.wording import format_score
from metaexp.results.episodes import EPISODES_FILE, tested_episodes
from metaexp.results.evaluations import Evaluation, published_tests_with_episodes
from metaexp.results.own_code import format_edited
from metaexp.results.record import RECORD_FILE, Machine, RunRecord, Score, read_record
from metaexp.results.seeds import SeedsResult, combine_seeds
from metaexp.run.integrity import check_run_files

PUBLISHED = Path("docs/results")
"""Where the published runs of a checkout are."""


class ReproducedTest(NamedTuple):
    """A run whose weights were tested again.

    Attributes:
        folder: The run folder.
        recorded: Its record. If only the first episodes were tested, the score in it is that of these episodes.
        evaluation: The test of its weights, as made now.
        tested_with: Of a later test, what it changes; empty for the run's own test.
        whole: Its record, with the score of all episodes, if only the first were tested.
    """

    folder: Path
    recorded: RunRecord
    evaluation: Evaluation
    tested_with: tuple[str, ...] = ()
    whole: RunRecord | None = None

    @property
    def found(self) -> Score:
        """The score of the weights, as measured now."""
        return self.evaluation.test

    @property
    def recorded_mean(self) -> float:
        """The recorded score."""
        assert self.recorded.test is not None  # reproduce_test refuses other runs
        return self.recorded.test.mean

    @property
    def agrees(self) -> bool:
        """Whether the weights gave the recorded score, up to the rounding of another machine."""
        return self.recorded.test is not None and agree(self.found, self.recorded.test)


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
        raise ConfigError(
            f"{what} is neither a run folder nor a published run in {PUBLISHED}. Give the folder of a run, with its "
            "weights in checkpoints/."
        )
    folder = folder.resolve()
    near = [path.parent for path in folder.parent.glob(f"{SEED_SUFFIX.sub('', folder.name)}*/{RECORD_FILE}")]
    rows = [row.seeds or (row,) for row in grouped([Entry(path.name, read_record(path), False) for path in near])]
    return next([folder.parent / run.name for run in runs] for runs in rows if folder.name in {r.name for r in runs})


def reproduce_test(folder: Path, overrides: Sequence[str] = (), n_episodes: int | None = None) -> ReproducedTest:
    """Test the selected weights of a run on the episodes of its record. Nothing is written.

    Args:
        folder: The run folder.
        overrides: Where the data are, and the device.
        n_episodes: Test only so many of the episodes, the first; None for all.

    Raises:
        RunFolderError: The run was not tested, has no weights or was changed, or its test episodes differ here.
    """
    record = read_record(folder)
    check_run_files(folder, record)
    if record.status != "completed" or record.test is None:
        raise RunFolderError(f"{folder} is not a completed run with a test result. There is nothing to compare with.")
    missing = [name for name in WEIGHTS if not (folder / name).is_file()]
    if missing:
        raise RunFolderError(f"{missing[0]} is missing, so nothing shows that the number is right.")
    compared = record
    if n_episodes is not None and n_episodes < record.test.n_episodes:
        values = tested_episodes(folder / EPISODES_FILE, record.test, record.test_episodes_sha256)[-1]
        compared = _with_first(record, values, n_episodes)
    return _tested_again(folder, record, compared, record.device, (), [*device_here(record), *overrides])


def reproduce_later_tests(
    folder: Path, overrides: Sequence[str] = (), n_episodes: int | None = None
) -> Iterator[ReproducedTest]:
    """Make the published later tests of a run's weights again. Nothing is written.

    Args:
        folder: The published run, which :func:`reproduce_test` has tested.
        overrides: Where the data are, and the device.
        n_episodes: Test only so many of the episodes, the first; None for all.

    Raises:
        RunFolderError: A later test is damaged, or its episodes differ here.
    """
    record = read_record(folder)
    for test, values in published_tests_with_episodes(folder, record):
        here = [*device_here(record), *overrides]
        whole = compared = record_of_test(test, record)
        if n_episodes is not None and n_episodes < len(values):
            compared = _with_first(whole, values, n_episodes)
        yield _tested_again(folder, whole, compared, test.device, overrides_of(test), here)


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


def _tested_again(
    folder: Path,
    whole: RunRecord,
    compared: RunRecord,
    device: Machine | None,
    changes: tuple[str, ...],
    overrides: Sequence[str],
) -> ReproducedTest:
    """Test the weights with ``changes`` to the settings of their run, on the episodes of the score in ``compared``."""
    from metaexp.run.evaluation.evaluate import evaluate_run

    threads = device.threads if device else 1
    is_whole = compared is whole
    first = [] if is_whole or compared.test is None else [f"eval.episodes={compared.test.n_episodes}"]
    found = evaluate_run(folder, [*changes, *first, f"device.threads={threads}", *overrides], keep=False).evaluation
    check_claims(compared, found)
    if is_whole and found.episode_bank != whole.episode_bank:
        raise RunFolderError(f"{folder} was tested on other episodes than these data give: the data differ.")
    return ReproducedTest(folder, compared, found, changes, None if is_whole else whole)


def agree(found: Score, recorded: Score) -> bool:
    """Return whether two measurements of the same weights agree, up to the rounding of another machine.

    Args:
        found: The score that was measured now.
        recorded: The score in the record.
    """
    margin = 1e-3 if recorded.metric == "accuracy" else 1e-4 * abs(recorded.mean)
    same = (found.metric, found.n_episodes) == (recorded.metric, recorded.n_episodes)
    return same and abs(found.mean - recorded.mean) <= margin


def combined(runs: Sequence[ReproducedTest]) -> SeedsResult:
    """Return the score and the verdict of all seeds: as measured now, or those of the records if that was a part."""
    return combine_seeds([run.whole or dataclasses.replace(run.recorded, test=run.found) for run in runs])


def in_rows(tests: Sequence[ReproducedTest]) -> list[list[ReproducedTest]]:
    """Return later tests with those of all seeds together, as in the rows of the results."""
    rows: dict[tuple[str, ...], list[ReproducedTest]] = {}
    for test in tests:
        rows.setdefault(test.tested_with, []).append(test)
    return list(rows.values())


def format_reproduced_tests(runs: Sequence[ReproducedTest]) -> str:
    """Return a line for each seed, the score of all, and the verdict; of a later test, first what it changes."""
    lines = [f"tested with {' '.join(runs[0].tested_with)}:"] if runs[0].tested_with else []
    for run in runs:
        same = "as recorded" if run.found == run.recorded.test else f"recorded {format_score(run.recorded.test)}"
        outcome = same if run.agrees else f"NOT what is recorded: {format_score(run.recorded.test)}"
        n = run.found.n_episodes
        part = f", the first {n:,} of {counted(_n_episodes(run.whole), 'episode')}" if run.whole else ""
        lines.append(f"seed {run.recorded.seed}{part}: {format_score(run.found)}, {outcome}")
        if run.evaluation.changed_code:
            lines.append(format_edited(run.evaluation.changed_code))
    whole, by = combined(runs), " by the records" if any(run.whole for run in runs) else ""
    if len(runs) > 1:
        lines.append(f"{counted(len(runs), 'seed')}{by}: {format_score(whole.test)}")
    if whole.verdict is not None:
        lines.append(f"verdict{by}: {whole.verdict.text}")
    return "\n".join(lines)


def _n_episodes(record: RunRecord) -> int:
    return record.test.n_episodes if record.test else 0
