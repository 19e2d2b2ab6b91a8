"""The scalars of a run as curves, read from its folder alone. Without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from metaexp.core.intervals import mean_interval
from metaexp.core.json_lines import METRICS_FILE, TIMINGS_FILE, TRAIN_LOSS, TRAINING_SECONDS, read_all_lines
from metaexp.core.metric import larger_is_better
from metaexp.results.episodes import EPISODES_FILE, read_episodes
from metaexp.results.record import Score


class Curve(NamedTuple):
    """A quantity over training steps.

    Attributes:
        steps: Where it was measured.
        values: What was measured, one for each step.
        ci95: Half-widths of the intervals; None where there are none.
        name: What the legend calls it.
    """

    steps: Sequence[float]
    values: Sequence[float]
    ci95: Sequence[float] | None = None
    name: str = "validation"


class History(NamedTuple):
    """The scalars of a run as curves.

    Attributes:
        metric: The metric of its tasks.
        validation: The metric on validation tasks.
        train_loss: The meta-loss of training tasks.
        best_step: The step with the best validation; None before the first.
        test: The test score; None before the test.
        after_steps: The test score after 0, 1, ... adaptation steps; empty for algorithms without steps.
        training_seconds: Step -> the time spent in training steps until then; empty for published copies, which have
            no timings.
        ends_with_test: Whether the last line of the metrics is the result of the test.
    """

    metric: str
    validation: Curve
    train_loss: Curve
    best_step: int | None
    test: Score | None
    after_steps: list[Score]
    training_seconds: Mapping[float, float] = {}
    ends_with_test: bool = False


def read_history(folder: Path) -> History:
    """Read the scalars of a run folder.

    Raises:
        RunFolderError: A file is damaged.
    """
    lines = read_all_lines(folder / METRICS_FILE)
    names = {name for _, values in lines for name in values}
    metric = next((m for m in ("accuracy", "mse") if f"val/{m}" in names or f"test/{m}" in names), "accuracy")
    validation = [(step, v[f"val/{metric}"], v.get("val/ci95")) for step, v in lines if f"val/{metric}" in v]
    loss = [(step, values[TRAIN_LOSS]) for step, values in lines if TRAIN_LOSS in values]
    per_step = read_episodes(folder / EPISODES_FILE) if (folder / EPISODES_FILE).exists() else []
    scores = [Score(metric, *mean_interval(row), len(row)) for row in per_step]
    half_widths = [half for _, _, half in validation if half is not None]
    return History(
        metric=metric,
        validation=Curve(
            [step for step, _, _ in validation],
            [mean for _, mean, _ in validation],
            half_widths if len(half_widths) == len(validation) else None,
        ),
        train_loss=Curve([step for step, _ in loss], [value for _, value in loss]),
        best_step=_best_step([(step, mean) for step, mean, _ in validation], metric),
        test=scores[-1] if scores else None,
        after_steps=scores if len(scores) > 1 else [],
        training_seconds=_training_seconds(folder / TIMINGS_FILE),
        ends_with_test=bool(lines) and f"test/{metric}" in lines[-1][1],
    )


def _best_step(validation: Sequence[tuple[int, float]], metric: str) -> int | None:
    """The step with the best validation; of equals the earlier one."""
    if not validation:
        return None
    sign = -1.0 if larger_is_better(metric) else 1.0
    return min(validation, key=lambda point: (sign * point[1], point[0]))[0]


def _training_seconds(path: Path) -> dict[float, float]:
    lines = read_all_lines(path) if path.exists() else []
    return {step: values[TRAINING_SECONDS] for step, values in lines if TRAINING_SECONDS in values}
