"""The result of a test as scores of a record, and as the scalars of its line of metrics."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from metaexp.core.counted import agreeing, listed
from metaexp.core.errors import NotFiniteError
from metaexp.core.intervals import mean_interval
from metaexp.core.json_lines import scalars_of_test
from metaexp.core.types import EvalResult
from metaexp.results.per_class.files import classes_sha256
from metaexp.results.record import Score

_ROUNDING = 1e-6
_ENOUGH = 10
"""Episodes, below which an interval says little."""


def check_finite(result: EvalResult, not_saved: Collection[str] = (), advice: str = "") -> None:
    """Raise NotFiniteError naming the episodes without a finite result.

    Args:
        result: A result over episodes.
        not_saved: Names of weights that selected weights are saved without, and that are NaN in a test.
        advice: What to do otherwise.
    """
    bad = [str(i) for i in (~result.per_episode.isfinite()).nonzero().flatten().tolist()]
    if bad:
        found = f"the metric of test {agreeing(len(bad), 'episode')} {listed(bad, 5)} is not finite."
        why = (
            f" If a test reads {listed(sorted(not_saved), 3)}, take it out of only_for_training: what that names is "
            "not saved with the selected weights, and is NaN here."
        )
        is_unsaved = bool(not_saved) and len(bad) == len(result.per_episode)
        raise NotFiniteError(found + (why if is_unsaved else f" {advice}".rstrip()))


def below_chance(result: EvalResult, n_way: int) -> str:
    """Return a line about an accuracy below that of guessing, or exactly that of guessing in each episode; or "".

    Learning too little does not explain the first. It explains the second where the weights of classes begin at 0.

    Args:
        result: A result over episodes.
        n_way: N, the classes of each episode; 0 in regression.
    """
    if n_way < 2 or result.n_episodes < _ENOUGH:
        return ""
    if bool(((result.per_episode - 1 / n_way).abs() < _ROUNDING).all()):
        return (
            f"the accuracy of each test episode is that of guessing, {100 / n_way:.1f} %: all queries get the same "
            "class. Scores may be equal (after a ReLU, or from weights that are all zero), or training has diverged or "
            "was too short."
        )
    if result.mean + 2 * result.ci95 < 1 / n_way:
        return (
            f"the test accuracy, {100 * result.mean:.1f} %, is lower than that of guessing, {100 / n_way:.1f} %. The "
            "sign of the scores or of the loss may be wrong (a distance in place of a score), or labels may be taken "
            "from the order of the support, which is shuffled. `metaexp check` examines an algorithm or a dataset of "
            "your own."
        )
    return ""


def extra_scores(result: EvalResult) -> list[Score]:
    """The further metrics as the record has them, without those that are not finite: a record holds numbers only."""
    finite = {name: values for name, values in result.extra.items() if values.isfinite().all()}
    return [Score(name, *mean_interval(values.tolist()), result.n_episodes) for name, values in finite.items()]


def not_finite_metrics(result: EvalResult) -> list[str]:
    """Return a line about each further metric that :func:`extra_scores` leaves out.

    Args:
        result: A result over episodes.
    """
    bad = {name: (~values.isfinite()).nonzero().flatten().tolist() for name, values in result.extra.items()}
    return [
        f"{name} of eval.metrics is left out: it is not finite in {len(where)} of {result.n_episodes} test episodes, "
        f"such as episode {where[0]}."
        for name, where in bad.items()
        if where
    ]


def domain_scores(result: EvalResult, metric: str) -> dict[str, Score]:
    """Return the result on each dataset of a mixture, as the record has it; empty for other data.

    Args:
        result: A result over episodes.
        metric: The name of its metric.
    """
    found: dict[str, Score] = {}
    for name in dict.fromkeys(result.domains):
        own = [value for value, of in zip(result.per_episode.tolist(), result.domains, strict=True) if of == name]
        interval = mean_interval(own)
        found[name] = Score(metric, interval.mean, interval.ci95, len(own))
    return found


def recorded(result: EvalResult, metric: str) -> dict[str, Any]:
    """Return all scores as fields of the record, and of a later test.

    Args:
        result: A result over episodes.
        metric: The name of its metric.
    """
    return {
        "test": score(result, metric),
        "after_steps": scores_after_steps(result, metric),
        "metrics": extra_scores(result),
        "domains": domain_scores(result, metric),
        "test_classes_sha256": classes_sha256(result.classes),
    }


def scalars(result: EvalResult, metric: str) -> dict[str, float]:
    """Return the scalars of a test, as metrics and trackers have them.

    Args:
        result: A result over episodes.
        metric: The name of its metric.
    """
    after_steps = [after.mean for after in scores_after_steps(result, metric)]
    further = {found.metric: found.mean for found in extra_scores(result)}
    return scalars_of_test(metric, result.mean, result.ci95, after_steps, further)


def score(result: EvalResult, metric: str) -> Score:
    """The result as the record has it.

    Args:
        result: A result over episodes.
        metric: The name of its metric.
    """
    return Score(metric, result.mean, result.ci95, result.n_episodes)


def scores_after_steps(result: EvalResult, metric: str) -> list[Score]:
    """The metric after 0, 1, ... adaptation steps; empty for an algorithm without steps.

    A state that is not finite (too large a step) ends the list, for a record holds numbers only.

    Args:
        result: A result over episodes.
        metric: The name of its metric.
    """
    if len(result.per_step) == 1:
        return []
    found = []
    for row in result.per_step:
        if not row.isfinite().all():
            break
        interval = mean_interval(row.tolist())
        found.append(Score(metric, interval.mean, interval.ci95, result.n_episodes))
    return found
