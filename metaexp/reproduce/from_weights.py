"""Test the weights of published runs again, all seeds of a row, and compare with their records. Nothing is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from metaexp.core.counted import counted
from metaexp.core.errors import MetaexpError, RunFolderError
from metaexp.reproduce.claims import check_claims
from metaexp.reproduce.planned_tests import PlannedTest
from metaexp.reproduce.retests.queue import WantedTest
from metaexp.reproduce.today import as_today
from metaexp.results.display.wording import format_score
from metaexp.results.evaluations import Evaluation
from metaexp.results.own_code import format_edited
from metaexp.results.record import RunRecord, Score, read_record
from metaexp.results.seeds import SeedsResult, combine_seeds

if TYPE_CHECKING:
    from metaexp.reproduce.retests.run import OnEstimate
    from metaexp.run.evaluation.evaluate import Retested
    from metaexp.run.progress import Display


class ReproducedTest(NamedTuple):
    """A run whose weights were tested again.

    Attributes:
        folder: The run folder.
        recorded: Its record. If only the first episodes were tested, the score in it is that of these episodes.
        evaluation: The test of its weights, as made now.
        tested_with: Of a later test, what it changes; empty for the run's own test.
        whole: Its record, with the score of all episodes, if only the first were tested.
        sources: The SHA-256 (hex) of the source files of metaexp that made the test.
    """

    folder: Path
    recorded: RunRecord
    evaluation: Evaluation
    tested_with: tuple[str, ...] = ()
    whole: RunRecord | None = None
    sources: str = ""

    @property
    def found(self) -> Score:
        """The score of the weights, as measured now."""
        return self.evaluation.test

    @property
    def agrees(self) -> bool:
        """Whether the weights gave the recorded score, up to the rounding of another machine."""
        return self.recorded.test is not None and agree(self.found, self.recorded.test)


def compare_test(planned: PlannedTest, found: Retested) -> ReproducedTest:
    """Return a test that was made again, with what it is compared with.

    Args:
        planned: The test.
        found: Its result.

    Raises:
        RunFolderError: The record names another learner, data or task, or the test episodes differ here.
    """
    check_claims(planned.compared, found.evaluation)
    is_whole = planned.compared is planned.whole
    if is_whole and found.evaluation.episode_bank != planned.whole.episode_bank:
        raise RunFolderError(f"{planned.folder} was tested on other episodes than these data give: the data differ.")
    whole = None if is_whole else planned.whole
    return ReproducedTest(planned.folder, planned.compared, found.evaluation, planned.changes, whole, found.sources)


def reproduce_tests(
    planned: Sequence[PlannedTest], display: Display | None = None, on_estimate: OnEstimate | None = None
) -> list[ReproducedTest]:
    """Make planned tests again, whatever is known of them.

    Args:
        planned: The tests.
        display: What the user sees; None chooses by the terminal.
        on_estimate: Called once, as soon as it is known how long they take.

    Raises:
        MetaexpError: The first error of a test.
    """
    from metaexp.reproduce.retests.run import retest_all
    from metaexp.run.progress import default_display

    outcomes: dict[WantedTest, Retested | MetaexpError] = {}
    tests = [test.wanted for test in planned]
    retest_all(tests, display or default_display(), outcomes.__setitem__, recalls=False, on_estimate=on_estimate)
    found = []
    for test in planned:
        outcome = outcomes[test.wanted]
        if isinstance(outcome, MetaexpError):
            raise outcome
        found.append(compare_test(test, outcome))
    return found


def agree(found: Score, recorded: Score) -> bool:
    """Return whether two measurements of the same weights agree, up to the rounding of another machine.

    Rounding changes an error by less than its ten-thousandth. It changes the error of a task that has diverged by more,
    but where such tasks decide the mean, the interval is as wide as the mean.

    Args:
        found: The score that was measured now.
        recorded: The score in the record.
    """
    margin = 1e-3 if recorded.metric == "accuracy" else max(1e-4 * abs(recorded.mean), 1e-3 * recorded.ci95)
    same = (found.metric, found.n_episodes) == (recorded.metric, recorded.n_episodes)
    return same and abs(found.mean - recorded.mean) <= margin


def combined(runs: Sequence[ReproducedTest]) -> SeedsResult:
    """Return the score and the verdict of all seeds: as measured now, or those of the records if that was a part.

    The verdict has the published number and the departures that the files of experiments state now.
    """
    return combine_seeds([_as_today(run) for run in runs])


def _as_today(run: ReproducedTest) -> RunRecord:
    record = run.whole or dataclasses.replace(run.recorded, test=run.found)
    return as_today(record, read_record(run.folder) if run.tested_with else None)


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
