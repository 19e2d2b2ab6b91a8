"""Whether a measured number reproduces a published one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from metaexp.results.record import Reference, Score, Verdict

NEAR_ACCURACY = 0.01
"""A measured accuracy at most this far outside the intervals is "within": one percentage point."""
NEAR_ERROR = 0.1
"""The same for an error, as a fraction of the published value."""
WIDE_ACCURACY = 0.05
"""With an interval of more than five points a measurement confirms nothing."""
WIDE_ERROR = 0.5
"""The same for an error, as a fraction of the published value."""

_STAND_IN = "made on a stand-in: says nothing about the published number"


def reproduction_verdict(
    test: Score,
    reference: Reference,
    steps: int,
    full_steps: int | None,
    deviations: Sequence[str] = (),
    is_stand_in: bool = False,
) -> Verdict | None:
    """Decide whether the test score of a completed run reproduces the published number.

    The kinds of verdict, the first that applies:

    * changed: settings differ from the published ones, so the number answers another question. A cut schedule is
      named, too.
    * shortened: the schedule was cut, whatever came out.
    * undecided: our interval is so wide that the published number could lie in it by chance, or there is only one
      episode and so no interval.
    * reproduced: the difference is at most the interval of a difference, sqrt(ours^2 + theirs^2), in either direction.
    * within: at most one accuracy point (a tenth of the published error) beyond that.
    * not_reproduced: everything else, better or worse.

    Args:
        test: The measured score.
        reference: The published number.
        steps: Training steps done.
        full_steps: Training steps of the experiment file; None if it gives none.
        deviations: Settings other than steps and seeds that differ from the experiment file.
        is_stand_in: Whether made-up images took the place of the dataset's, which is a changed setting in any case.

    Returns:
        The verdict; None when the metrics are not the same one.
    """
    if test.metric != reference.metric:
        return None
    difference = test.mean - reference.value
    gap = _gap(difference, reference)
    if is_stand_in or deviations:
        text = _STAND_IN if is_stand_in else f"{_changes(steps, full_steps, deviations)}: {gap}"
        return Verdict("changed", difference, text)
    cut = _cut(steps, full_steps)
    if cut:
        return Verdict("shortened", difference, f"{cut}: {gap}")
    if test.n_episodes < 2:
        return Verdict("undecided", difference, f"undecided, one episode gives no interval: {gap}")
    interval = math.hypot(test.ci95, reference.ci95 or 0.0)
    accuracy = _is_accuracy(reference.metric)
    near = NEAR_ACCURACY if accuracy else NEAR_ERROR * abs(reference.value)
    wide = WIDE_ACCURACY if accuracy else WIDE_ERROR * abs(reference.value)
    if test.ci95 > wide and abs(difference) <= interval + near:
        return Verdict("undecided", difference, f"undecided, the interval is too wide: {gap}")
    if abs(difference) <= interval:
        return Verdict("reproduced", difference, "reproduced")
    if abs(difference) <= interval + near:
        return Verdict("within", difference, f"within {gap}")
    return Verdict("not_reproduced", difference, f"not reproduced: {gap}")


def _cut(steps: int, full_steps: int | None) -> str:
    """How a schedule was cut; empty where it was not."""
    return f"shortened ({steps:,} of {full_steps:,} steps)" if full_steps is not None and steps < full_steps else ""


def _changes(steps: int, full_steps: int | None, deviations: Sequence[str]) -> str:
    more = f" and {len(deviations) - 1} more" if len(deviations) > 1 else ""
    cut = _cut(steps, full_steps)
    return f"{cut}{', ' if cut else ''}changed settings ({deviations[0]}{more})"


def _is_accuracy(metric: str) -> bool:
    return metric == "accuracy"


def _gap(difference: float, reference: Reference) -> str:
    """The difference as text, such as "0.6 points below" or, for an error, "0.12 above"."""
    side = "above" if difference >= 0 else "below"
    if _is_accuracy(reference.metric):
        return f"{abs(difference) * 100:.1f} points {side}"
    return f"{abs(difference):.3g} {side}"
