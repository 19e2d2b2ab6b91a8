"""Combines runs that differ in their seed only: the mean, its interval and one verdict. Without torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

from metaexp.core.counted import counted
from metaexp.core.errors import RunFolderError
from metaexp.core.intervals import mean_interval
from metaexp.results.record import RunRecord, Score, Verdict
from metaexp.results.verdict import reproduction_verdict


class SeedsResult(NamedTuple):
    """Some seeds of one setting.

    Attributes:
        seeds: The seeds.
        test: The mean over seeds with its interval over seeds, or over episodes for one seed; None before any test.
        verdict: The verdict on the mean; None without a published number.
    """

    seeds: list[int]
    test: Score | None
    verdict: Verdict | None


def combine_seeds(records: Sequence[RunRecord]) -> SeedsResult:
    """Take completed runs of one setting together.

    The interval is Student's over the seeds' means, t(0.975, S - 1) * std / sqrt(S): how far another S seeds could
    lead. It is wide for few seeds, which makes a number harder to reproduce, never easier.

    Raises:
        RunFolderError: A seed is there twice, or the metrics or numbers of episodes differ.
    """
    seeds = [record.seed for record in records]
    tests = [record.test for record in records if record.test is not None]
    if len(set(seeds)) != len(seeds) or len({(test.metric, test.n_episodes) for test in tests}) > 1:
        raise RunFolderError(f"the runs with seeds {', '.join(map(str, seeds))} are not seeds of one setting.")
    if not tests:
        return SeedsResult(seeds, None, None)
    if len(tests) == 1:
        return SeedsResult(seeds, tests[0], _verdict(records, tests[0]))
    metric, n_episodes, means = tests[0].metric, tests[0].n_episodes, [test.mean for test in tests]
    interval = mean_interval(means, "student")
    episodes = math.fsum(test.ci95 for test in tests) / len(tests)
    verdict = _verdict(records, Score(metric, interval.mean, episodes, n_episodes), means)
    return SeedsResult(seeds, Score(metric, interval.mean, interval.ci95, n_episodes), verdict)


def combined_record(records: Sequence[RunRecord]) -> RunRecord:
    """Return one record for a row of a table: the first one, with the mean score of all and the time of all.

    Runs that were trained together share their time.
    """
    found = combine_seeds(records)
    seconds = [r.seconds / (r.device.runs_together if r.device else 1) for r in records if r.seconds is not None]
    total = math.fsum(seconds) if len(seconds) == len(records) else None
    return dataclasses.replace(records[0], test=found.test, verdict=found.verdict, seconds=total)


def _verdict(records: Sequence[RunRecord], test: Score, means: Sequence[float] = ()) -> Verdict | None:
    """The verdict on the mean. One shortened or changed run makes the whole shortened or changed."""
    first = records[0]
    if first.reference is None:
        return None
    deviations = list(dict.fromkeys(item for record in records for item in record.deviations))
    steps = min(record.steps for record in records)
    is_stand_in = any(record.is_stand_in for record in records)
    verdict = reproduction_verdict(
        test, first.reference, steps, first.full_steps, deviations, is_stand_in, departs=first.departs, seeds=means
    )
    longest = max(record.steps for record in records)
    if verdict is not None and verdict.kind == "reproduced" and longest > steps:  # no number of steps reached it
        text = f"shortened: the runs made from {steps:,} to {counted(longest, 'step')}"
        return Verdict("shortened", verdict.difference, text)
    return verdict
