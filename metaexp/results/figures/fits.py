"""Regression tasks before and after adaptation: functions of one number, and sequences to continue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metaexp.core.counted import counted
from metaexp.results.figures.style import BLUE, GREY, INK, ORANGE, VERMILION, Canvas, to_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS_PER_ROW = 3
_LOOKS: tuple[tuple[str, Any, float], ...] = (
    (GREY, (0, (1.2, 1.8)), 1.6),
    (ORANGE, (0, (5, 2)), 1.8),
    (BLUE, "-", 2.0),
)
"""Colour, dashes and width of the first, a middle and the last state of adaptation."""


class Fit(NamedTuple):
    """One task y = f(x), with one number for x and for y, in arrays or tensors.

    Attributes:
        x: (G,), where the curves are drawn, ascending.
        truth: (G,), the true function there, or what was measured.
        support_x: (S,), the points that the learner is given.
        support_y: (S,), their values.
        fits: Number of adaptation steps -> predictions (G,). A single entry is called adapted, whatever its number.
    """

    x: Any
    truth: Any
    support_x: Any
    support_y: Any
    fits: Mapping[int, Any]


class Continuation(NamedTuple):
    """One sequence to continue.

    Attributes:
        beginning: (L,), the part that the learner is given.
        rest: (R,), the part that it predicts.
        fits: Number of adaptation steps -> predictions (R,).
    """

    beginning: Any
    rest: Any
    fits: Mapping[int, Any]


def function_fits(path: Path, title: str, tasks: Sequence[Fit], truth_name: str = "true function") -> None:
    """Draw one panel per task: the truth, the given points, and the fit after each number of steps.

    The title of a panel is the mean squared error (MSE) over the curve after each number of steps.

    Args:
        path: The PNG file.
        title: Above the figure.
        tasks: One panel each.
        truth_name: What the truth is called.

    Raises:
        ValueError: There are no tasks.
    """
    with _open_panels(path, title, len(tasks)) as (figure, panels):
        for axes, task in zip(panels, tasks, strict=True):
            x, truth = to_array(task.x), to_array(task.truth)
            axes.plot(x, truth, color=VERMILION, linewidth=4.5, alpha=0.35, label=truth_name)
            _lines(axes, x, task.fits)
            axes.plot(
                to_array(task.support_x), to_array(task.support_y), linestyle="none", marker="o", markersize=6.5,
                color=INK, markeredgecolor="white", zorder=5, label="support",
            )  # fmt: skip
            axes.set_title(_format_errors(task.fits, truth), fontsize=9, fontweight="normal")
            axes.set_xlabel("x")
        _label_rows(panels, "y")
        _legend(figure, panels)


def continuations(path: Path, title: str, tasks: Sequence[Continuation]) -> None:
    """Draw one panel per sequence: the beginning, the true rest, and its prediction after adaptation.

    Args:
        path: The PNG file.
        title: Above the figure.
        tasks: One panel each.

    Raises:
        ValueError: There are no tasks.
    """
    import numpy as np

    with _open_panels(path, title, len(tasks)) as (figure, panels):
        for axes, task in zip(panels, tasks, strict=True):
            beginning, rest = to_array(task.beginning), to_array(task.rest)
            past = np.arange(len(beginning))
            future = np.arange(len(beginning), len(beginning) + len(rest))
            axes.axvspan(-0.5, len(beginning) - 0.5, color="#F2F2F2", zorder=0, linewidth=0)
            axes.plot(past, beginning, color=INK, marker="o", markersize=3, label="beginning (given)")
            axes.plot(future, rest, color=VERMILION, linewidth=4.5, alpha=0.35, label="true rest")
            _lines(axes, future, task.fits)
            axes.set_title(_format_errors(task.fits, rest), fontsize=9, fontweight="normal")
            axes.set_xlabel("position in the sequence")
        _label_rows(panels, "value")
        _legend(figure, panels)


@contextmanager
def _open_panels(path: Path, title: str, count: int) -> Iterator[tuple[Figure, list[Axes]]]:
    """Open a canvas with ``count`` equal panels that share the y axis, and a title above them."""
    if count == 0:
        raise ValueError("a figure of fits needs at least one task")
    columns = min(count, PANELS_PER_ROW)
    rows = -(-count // columns)
    with Canvas(path, 3.1 * columns + 0.3, 2.7 * rows + 0.8) as figure:
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for unused in grid[count:]:
            unused.set_axis_off()
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", wrap=True)
        yield figure, list(grid[:count])


def _label_rows(panels: Sequence[Axes], label: str) -> None:
    """Name the y axis of the first panel of each row."""
    for axes in panels[::PANELS_PER_ROW]:
        axes.set_ylabel(label)


def _lines(axes: Axes, x: Any, fits: Mapping[int, Any]) -> None:
    """One line per state of adaptation, from the first to the last."""
    looks = [_LOOKS[2]] if len(fits) == 1 else [_LOOKS[0], *[_LOOKS[1]] * (len(fits) - 2), _LOOKS[2]]
    for (steps, fit), (color, dashes, width) in zip(sorted(fits.items()), looks, strict=True):
        label = _format_state(steps, len(fits))
        axes.plot(x, to_array(fit), color=color, linestyle=dashes, linewidth=width, label=label)


def _format_state(steps: int, count: int) -> str:
    if count == 1:
        return "adapted"
    return "before adaptation" if steps == 0 else f"after {counted(steps, 'step')}"


def _format_errors(fits: Mapping[int, Any], truth: Any) -> str:
    errors = [((to_array(fit) - truth) ** 2).mean() for _, fit in sorted(fits.items())]
    return "MSE " + " → ".join(f"{error:.2g}" if error < 100 else f"{error:.0f}" for error in errors)


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    handles, labels = panels[0].get_legend_handles_labels()
    columns = {1: 2, 2: 3}.get(len(panels), 5)
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, columnspacing=1.4)
