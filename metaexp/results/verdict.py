"""Whether a measured number reproduces a published one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from metaexp.core.counted import counted, listed
from metaexp.core.intervals import student_quantile
from metaexp.core.metric import format_digits
from metaexp.results.record import Reference, RunRecord, Score, Verdict

MARGIN_ACCURACY = 0.01
"""Two accuracies that differ by at most this are taken as equal: one percentage point."""
MARGIN_ERROR = 0.1
"""The same for an error, as a fraction of the published value."""
_ROUNDING = 1e-9
"""Differences of decimal numbers are not exact: 0.987 - 0.977 is a little more than 0.01."""
_SHOWN = 100
"""Characters of a text about departures that a verdict shows."""
_CHANGES_SHOWN = 3
"""Changed settings that a verdict names where there are many."""

_STAND_IN = "made on a stand-in: says nothing about the published number"


def reproduction_verdict(
    test: Score,
    reference: Reference,
    steps: int,
    full_steps: int | None,
    deviations: Sequence[str] = (),
    is_stand_in: bool = False,
    *,
    departs: str = "",
    seeds: Sequence[float] = (),
) -> Verdict | None:
    """Decide whether the test score of completed runs reproduces the published number.

    It does if both are equal within a margin (one accuracy point, a tenth of a published error), shown by two
    one-sided tests at 5 %: the 90 % interval of the difference lies within the margin. The interval covers the seeds
    (Student's), the test episodes, which all seeds share, and the published interval. One seed says nothing about
    other seeds, so it can come near but not reproduce. Neither do several that all give the same score. A published
    number without an interval is taken as exact. If all test episodes have the same accuracy, its interval is that of
    the rule of three, nearly 3 / n on each side: the largest share of episodes that n of them miss with 5 %.

    The kinds of verdict, the first that applies:

    * changed: settings differ from the experiment's, so the number answers another question. A cut schedule is
      named, too. With another task (:func:`is_another_task`) the distance to the published number is left out.
    * undecided: there is no interval (one episode, or an error that is the same in all), or a published error of 0
      leaves no margin.
    * reproduced: several seeds are equal to the published number within the margin. With a cut schedule the text says
      after how many steps.
    * shortened: the schedule was cut, and equality was not shown.
    * within: the same test with the interval of one seed.
    * not_reproduced: the 95 % interval of the difference lies beyond the margin, better or worse.
    * undecided: everything else. The interval is too wide for the margin.

    Args:
        test: The measured score. Over several seeds: their mean, with the interval over episodes.
        reference: The published number.
        steps: Training steps done.
        full_steps: Training steps of the experiment file; None if it gives none.
        deviations: Settings other than steps and seeds that differ from the experiment file.
        is_stand_in: Whether made-up images took the place of the dataset's, which is a changed setting in any case.
        departs: Where the experiment departs from its paper, as its header says; empty if in nothing.
        seeds: The score of each seed; fewer than two for a single run.

    Returns:
        The verdict; None when the metrics are not the same one.
    """
    if test.metric != reference.metric:
        return None
    difference = test.mean - reference.value
    gap = _format_gap(difference, reference)
    if is_stand_in or deviations:
        text = _STAND_IN if is_stand_in else _format_changed(gap, _full(reference, full_steps), steps, deviations)
        return Verdict("changed", difference, text)
    if reason := _no_test(test, reference):
        return Verdict("undecided", difference, f"undecided, {reason}: {gap}")
    full = _full(reference, full_steps)
    cut = _format_cut(steps, full)
    differ = len(set(seeds)) > 1
    number = (
        "one seed" if len(seeds) < 2 else f"{counted(len(seeds), 'seed')}{'' if differ else ' with the same score'}"
    )
    rest = f"{number}{_format_departures(departs)}"
    limit = margin(reference) * (1 + _ROUNDING)
    if abs(difference) + _half_width(test, reference, seeds, 0.95) <= limit:
        after = f" after {steps:,} of {counted(full, 'step')}" if cut and full is not None else ""
        equal = f"within {format_margin(reference)}"
        if differ:
            reached = f"reproduced: reached{after}, {equal}" if cut else f"reproduced {equal}"
            return Verdict("reproduced", difference, f"{reached}, {rest}")
        return Verdict("shortened" if cut else "within", difference, f"{cut or equal}: {gap}, {rest}")
    if cut:
        return Verdict("shortened", difference, f"{cut}: {gap}, {rest}")
    if abs(difference) - _half_width(test, reference, seeds, 0.975) > limit:
        return Verdict("not_reproduced", difference, f"not reproduced: {gap}, {rest}")
    wide = f"undecided, the interval is too wide for {format_margin(reference)}: {gap}"
    return Verdict("undecided", difference, f"{wide}, {rest}")


def _no_test(test: Score, reference: Reference) -> str:
    """Why nothing can be tested; empty where it can."""
    if test.n_episodes < 2:
        return "one episode gives no interval"
    if margin(reference) == 0.0:
        return "a published error of 0 leaves no margin"
    if test.ci95 == 0.0 and not _is_accuracy(test.metric):
        return f"all {counted(test.n_episodes, 'episode')} have the same error, which gives no interval"
    return ""


def _format_changed(gap: str, full: int | None, steps: int, deviations: Sequence[str]) -> str:
    changes = _format_changes(steps, full, deviations)
    return f"another task than the published one, {changes}" if is_another_task(deviations) else f"{changes}: {gap}"


def with_verdict(record: RunRecord) -> RunRecord:
    """Return a record with its verdict in the words of this version; the record itself if it can have none."""
    if record.test is None or record.reference is None:
        return record
    verdict = reproduction_verdict(
        record.test, record.reference, record.steps, record.full_steps, record.deviations, record.is_stand_in,
        departs=record.departs,
    )  # fmt: skip
    return replace(record, verdict=verdict)


def without_validation(deviations: Sequence[str], config: Mapping[str, Any]) -> list[str]:
    """Return deviations without those of validation, if the last weights are tested and it chooses nothing.

    Args:
        deviations: Each as ``key=value``.
        config: The resolved configuration of the run.
    """
    if config.get("eval", {}).get("weights") != "last":  # with it, train.patience is refused
        return list(deviations)
    return [item for item in deviations if not item.startswith(("train.eval_every=", "train.eval_episodes="))]


def is_another_task(deviations: Sequence[str]) -> bool:
    """Whether settings that differ from the experiment's make the test another one: its classes, shots or data.

    Args:
        deviations: The settings that differ, as ``key=value``.
    """
    return any(deviation.startswith(("task.n_way=", "task.k_shot=", "dataset=")) for deviation in deviations)


def margin(reference: Reference) -> float:
    """Return the largest difference from a published number that counts as none."""
    return MARGIN_ACCURACY if _is_accuracy(reference.metric) else MARGIN_ERROR * abs(reference.value)


def format_margin(reference: Reference) -> str:
    """Return the margin in words: ``1 point``, or ``0.067`` for an error."""
    return "1 point" if _is_accuracy(reference.metric) else f"{margin(reference):.2g}"


def half_width_of_any_seeds(test: Score, reference: Reference) -> float:
    """Return half the 90 % interval of a difference that any number of seeds leaves.

    It is that of the test episodes and of the published number. If it is wider than the margin, no mean over seeds can
    be shown to be equal to the published number.

    Args:
        test: The measured score, with the interval over episodes.
        reference: The published number.
    """
    return _half_width(test, reference, (), 0.95)


def _half_width(test: Score, reference: Reference, seeds: Sequence[float], quantile: float) -> float:
    """Half the width of the interval of the difference, up to ``quantile`` on each side."""
    normal = {0.95: 1.645, 0.975: 1.96}[quantile] / 1.96  # of what is given as a 95 % interval
    over_episodes = normal * test.ci95 or 1.0 - (1.0 - quantile) ** (1.0 / test.n_episodes)
    parts = [over_episodes, normal * (reference.ci95 or 0.0)]
    if len(seeds) > 1:
        mean = math.fsum(seeds) / len(seeds)
        variance = math.fsum((seed - mean) ** 2 for seed in seeds) / (len(seeds) - 1)
        parts.append(student_quantile(quantile, len(seeds) - 1) * math.sqrt(variance / len(seeds)))
    return math.hypot(*parts)


def _full(reference: Reference, full_steps: int | None) -> int | None:
    """The steps of the published schedule."""
    return full_steps if reference.steps is None else reference.steps


def _format_cut(steps: int, full: int | None) -> str:
    """How a schedule was cut; empty where it was not."""
    return f"shortened ({steps:,} of {counted(full, 'step')})" if full is not None and steps < full else ""


def _format_changes(steps: int, full: int | None, deviations: Sequence[str]) -> str:
    cut = _format_cut(steps, full)
    return f"{cut}{', ' if cut else ''}changed settings ({listed(deviations, _CHANGES_SHOWN)})"


def _format_departures(departs: str) -> str:
    """The first sentence about departures, cut at a word where it is long; empty where there are none."""
    if not departs:
        return ""
    first = re.split(r"(?<!\bal)\. ", departs, maxsplit=1)[0].rstrip(".")  # "et al." ends no sentence
    if len(first) > _SHOWN:
        first = first[:_SHOWN].rpartition(" ")[0].rstrip(",:;") + " ..."
    return f", with departures: {first}"


def _is_accuracy(metric: str) -> bool:
    return metric == "accuracy"


def _format_gap(difference: float, reference: Reference) -> str:
    """The difference as text, such as "0.6 points below" or, for an error, "0.12 above (worse)"."""
    side = "above" if difference >= 0 else "below"
    if _is_accuracy(reference.metric):
        return f"{abs(difference) * 100:.1f} points {side}"
    return f"{format_digits(abs(difference))} {side} ({'worse' if difference >= 0 else 'better'})"
