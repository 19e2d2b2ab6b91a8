"""The learning curve and the adaptation curve of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from metaexp.core.counted import counted
from metaexp.core.metric import format_digits, format_metric_name
from metaexp.results.display.wording import format_reference, format_score
from metaexp.results.figures.style import (
    BLUE,
    FEWEST_POINTS,
    GREEN,
    GREY,
    INK,
    VERMILION,
    Canvas,
    outlined,
    scale_accuracy,
    scale_log,
    thousands,
    to_array,
)
from metaexp.results.history import Curve
from metaexp.results.record import Reference, Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from metaexp.results.figures.style import Array


_LEAST_SHARE = 0.25
"""The least part of the height of the axes that is kept for the numbers."""
_MOST_LETTERS = 86
"""The letters that fit in three columns of a legend."""


class Lines(NamedTuple):
    """Horizontal lines to compare a metric with; None is left out.

    Attributes:
        chance: What guessing gives.
        reference: The published number.
    """

    chance: float | None = None
    reference: Reference | None = None


class Selected(NamedTuple):
    """The step whose weights are tested.

    Attributes:
        step: The step.
        is_last: Whether it is the last one whatever validation says (``eval.weights=last``).
    """

    step: int
    is_last: bool = False

    def format(self, *, is_tested: bool) -> str:
        """Return what the legend calls the step.

        Args:
            is_tested: Whether its weights were tested.
        """
        if self.is_last:
            return f"{'tested: ' if is_tested else ''}last step, {self.step:,}"
        return f"selected: step {self.step:,}"


def learning_curve(
    path: Path,
    title: str,
    metric: str,
    validation: Curve,
    train_loss: Curve,
    selected: Selected | None,
    test: Score | None,
    lines: Lines | None = None,
) -> None:
    """Draw validation with its interval, the step that was tested and the test result, above the training loss.

    A panel without data is left out. Fewer than three numbers are points without a line.

    Args:
        path: The PNG file.
        title: Above the figure.
        metric: accuracy or mse.
        validation: Of new tasks.
        train_loss: Of training tasks.
        selected: Whose weights were tested; None before the first validation.
        test: The test score.
        lines: What the metric is compared with.

    Raises:
        ValueError: Each curve has fewer than three points.
    """
    panels = [curve for curve in (validation, train_loss) if len(curve.steps)]
    if all(len(curve.steps) < FEWEST_POINTS for curve in panels):
        raise ValueError(f"a learning curve needs at least {FEWEST_POINTS} validations or lines of training metrics")
    lines = lines or Lines()
    with Canvas(path, 7.2, 5.6 if len(panels) == 2 else 4.0) as figure:
        ratios = [2.1, 1.0][: len(panels)]
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
        axes[0].set_title(title, wrap=True)
        if len(validation.steps):
            _validation(axes[0], metric, validation, selected, test, lines)
        if len(train_loss.steps):
            _loss(axes[-1], train_loss)
        axes[-1].set_xlabel("training steps")
        axes[-1].margins(x=0.02)
        thousands(axes[-1])
        if len(validation.steps):
            _legend(figure, axes[0])


def _validation(
    axes: Axes, metric: str, curve: Curve, selected: Selected | None, test: Score | None, lines: Lines
) -> None:
    steps, values = to_array(curve.steps), to_array(curve.values)
    label = curve.name
    if curve.ci95 is not None and any(curve.ci95):  # one episode has no interval
        half = to_array(curve.ci95)
        if len(steps) < FEWEST_POINTS:
            axes.errorbar(steps, values, yerr=half, fmt="none", ecolor=BLUE, elinewidth=1.2, capsize=3.5)
        else:
            axes.fill_between(steps, values - half, values + half, color=BLUE, alpha=0.18, linewidth=0)
        label = f"{curve.name}, 95 % interval" if curve.name == "validation" else curve.name
    marker = "o" if len(steps) <= 40 else None
    axes.plot(steps, values, color=BLUE, linestyle=_line(steps), marker=marker, markersize=3.5, label=label)
    x = selected.step if selected is not None else steps[-1]
    if selected is not None:
        label = selected.format(is_tested=test is not None)
        axes.axvline(selected.step, color=GREY, linewidth=1.0, linestyle=(0, (2, 2)), zorder=1.5, label=label)
    if test is not None:
        axes.errorbar(
            [x], [test.mean], yerr=_half_widths([test]), fmt="D", markersize=6.5, capsize=4, color=VERMILION,
            markeredgecolor="white", zorder=5,
            label=f"test: {format_score(test)} ({counted(test.n_episodes, 'episode')})",
        )  # fmt: skip
    shown = [*values, *([] if test is None else [test.mean])]
    _compare(axes, lines, shown)
    axes.set_ylabel(f"{'mean squared error' if metric == 'mse' else metric} on new tasks")
    if metric == "accuracy":
        scale_accuracy(axes, shown)


def _half_widths(scores: Sequence[Score]) -> list[float] | None:
    """The half-widths of the intervals; None where one episode gives none."""
    return [score.ci95 for score in scores] if all(score.n_episodes > 1 for score in scores) else None


def _compare(axes: Axes, lines: Lines, values: Sequence[float]) -> None:
    """Draw the lines to compare with. Chance is left out where it is so far below that it would flatten the curve."""
    if lines.reference is not None:
        label = f"published: {format_reference(lines.reference)}"
        axes.axhline(lines.reference.value, color=INK, linewidth=1.1, linestyle=(0, (6, 3)), zorder=1.6, label=label)
    if lines.chance is not None and max(values) - min(values) >= _LEAST_SHARE * (max(values) - lines.chance):
        axes.axhline(lines.chance, color=GREY, linewidth=1.0, linestyle=(0, (1, 2)), zorder=1.4, label="chance")


def _loss(axes: Axes, curve: Curve) -> None:
    steps, values = to_array(curve.steps), to_array(curve.values)
    marker = "o" if len(steps) < FEWEST_POINTS else None
    axes.plot(steps, values, color=GREEN, linewidth=1.0, linestyle=_line(steps), marker=marker, markersize=3.5)
    axes.set_ylabel("training loss")
    positive = values[values > 0]
    if len(positive) == len(values) and positive.max() > 20 * positive.min():
        scale_log(axes, "y", positive.min(), positive.max())


def _line(steps: Array) -> str:
    """The style of the line between the numbers at ``steps``."""
    return "-" if len(steps) >= FEWEST_POINTS else "none"


def adaptation_curve(path: Path, title: str, after_steps: Sequence[Score], lines: Lines | None = None) -> None:
    """Draw the test metric after 0, 1, ... adaptation steps, each with its 95 % interval.

    Args:
        path: The PNG file.
        title: Above the figure.
        after_steps: One score for each number of steps.
        lines: What the metric is compared with.

    Raises:
        ValueError: There are fewer than three scores.
    """
    if len(after_steps) < FEWEST_POINTS:
        raise ValueError(f"an adaptation curve needs at least {FEWEST_POINTS} scores; got {len(after_steps)}")
    metric = after_steps[0].metric
    means, halves = [score.mean for score in after_steps], _half_widths(after_steps)
    with Canvas(path, 6.4, 4.3) as figure:
        axes = figure.subplots()
        axes.errorbar(
            range(len(means)), means, yerr=halves, color=BLUE, marker="o", markersize=5, capsize=3.5,
            elinewidth=1.2, label="test" if halves is None else "test, 95 % interval", zorder=3,
        )  # fmt: skip
        _annotate(axes, after_steps)
        _compare(axes, lines or Lines(), means)
        axes.set_title(title, wrap=True)
        axes.set_xlabel("adaptation steps on the support set")
        axes.set_ylabel(f"test {format_metric_name(metric)}")
        axes.margins(x=0.08, y=0.15)
        thousands(axes)
        if metric == "accuracy":
            scale_accuracy(axes, means)
        _legend(figure, axes)


def _legend(figure: Figure, axes: Axes) -> None:
    """Draw the legend below the axes, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    n_columns = 3 if sum(sorted(map(len, labels))[-3:]) <= _MOST_LETTERS else 2
    figure.legend(handles, labels, loc="outside lower left", ncols=n_columns, columnspacing=1.5, labelspacing=0.3)


def _annotate(axes: Axes, scores: Sequence[Score]) -> None:
    """Write the first, the second (where most happens) and the last number beside the line."""
    rising = scores[-1].mean >= scores[0].mean
    for index in sorted({0, 1, len(scores) - 1}):
        score = scores[index]
        text = f"{score.mean * 100:.1f} %" if score.metric == "accuracy" else format_digits(score.mean)
        y, side, align = (score.mean - score.ci95, -1, "top") if rising else (score.mean + score.ci95, 1, "bottom")
        shift = 8 if 0 < index < len(scores) - 1 else 0
        note = axes.annotate(
            text, (index, y), xytext=(shift, 6 * side), textcoords="offset points", ha="left" if shift else "center",
            va=align, fontsize=9, zorder=4,
        )  # fmt: skip
        outlined(note)
