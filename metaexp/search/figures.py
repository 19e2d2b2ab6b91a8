"""Figures of a search: its history, each key against the result, and importance where the trials carry it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from metaexp.core.counted import counted
from metaexp.core.metric import Metric, format_metric_name
from metaexp.results.figures.style import BLUE, GREY, PALE, VERMILION, Canvas, percent, scale_log
from metaexp.search.point import Point
from metaexp.search.space import Choices, Dimension, Interval, format_value
from metaexp.search.summary import SearchResult, best_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOTS = "plots"
_LEAST_TRIALS = 3
"""Two points show no course, so nothing is drawn of fewer completed trials."""
_COLUMNS = 3
_LONGEST_LABEL = 18


def draw_search(found: SearchResult) -> list[Path]:
    """Draw the figures of a search into its folder.

    Args:
        found: The results so far.

    Returns:
        The files; none if fewer than three trials completed.
    """
    done = [point for point in found.points if point.value is not None]
    if len(done) < _LEAST_TRIALS:
        return []
    folder = found.prepared.path / PLOTS
    paths = [_history(found, done, folder / "history.png"), _slices(found, done, folder / "slices.png")]
    importance = folder / "importance.png"
    if found.importances:
        paths.append(_importance(found, len(done), importance))
    else:
        importance.unlink(missing_ok=True)  # of an earlier version, which drew it of fewer trials
    return paths


def _history(found: SearchResult, done: Sequence[Point], path: Path) -> Path:
    """The result of each trial in order, the best so far, and where bad trials were stopped early."""
    metric = found.prepared.metric
    with Canvas(path, 7.0, 4.0) as figure:
        axes = figure.add_subplot()
        stopped = [point for point in found.points if point.state == "pruned" and point.reported]
        last = [point.reported[max(point.reported)] for point in stopped]
        if stopped:
            label = "stopped early, at its last validation"
            axes.scatter([p.number for p in stopped], last, s=26, facecolors="none", edgecolors=GREY, label=label)
        axes.scatter([p.number for p in done], [p.value or 0.0 for p in done], s=26, color=BLUE, label="completed")
        axes.step(*_best_so_far(done, metric), where="post", color=VERMILION, label="best so far")
        axes.set_title(f"{counted(len(found.counted), 'trial')}: {format_metric_name(metric.name)} on validation tasks")
        axes.set_xlabel("trial")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _label_metric(axes, metric)
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return path


def _best_so_far(done: Sequence[Point], metric: Metric) -> tuple[list[int], list[float]]:
    """Number of each completed trial, and the best result up to it."""
    numbers: list[int] = []
    values: list[float] = []
    for point in sorted(done, key=lambda point: point.number):
        value = point.value or 0.0
        numbers.append(point.number)
        values.append(value if not values or metric.is_better(value, values[-1]) else values[-1])
    return numbers, values


def _slices(found: SearchResult, done: Sequence[Point], path: Path) -> Path:
    """A panel for each key: its value in each completed trial, and the result."""
    dimensions = found.prepared.space.dimensions
    columns = min(_COLUMNS, len(dimensions))
    rows = -(-len(dimensions) // columns)
    best = best_of(found)
    with Canvas(path, 0.6 + 3.1 * columns, 0.6 + 2.9 * rows) as figure:
        for index, dimension in enumerate(dimensions):
            axes = figure.add_subplot(rows, columns, index + 1)
            place = _axis(axes, dimension, index)
            for point in sorted(done, key=lambda point: point is best):
                color, size = (VERMILION, 60) if point is best else (BLUE, 22)
                axes.scatter([place(point)], [point.value or 0.0], s=size, color=color, alpha=0.8, linewidths=0)
            axes.set_xlabel(dimension.key)
            if index % columns == 0:
                _label_metric(axes, found.prepared.metric)
            elif found.prepared.metric.name == "accuracy":
                percent(axes)
        space = "\n" if columns == 1 else " "  # one panel is too narrow for all of it in a line
        _title(figure, f"{len(done)} completed trials by each key;{space}the best one is large")
    return path


def _axis(axes: Axes, dimension: Dimension, index: int) -> Callable[[Point], float]:
    """Prepare the x axis of a key. Returns where a trial stands on it."""
    if isinstance(dimension, Choices):
        names = [format_value(value) for value in dimension.values]
        angle = 20 if len(names) > _COLUMNS else 0
        axes.set_xticks(range(len(names)), [name[:_LONGEST_LABEL] for name in names], rotation=angle)
        axes.set_xlim(-0.5, len(names) - 0.5)
        return lambda point: names.index(format_value(point.values[index]))
    if isinstance(dimension, Interval) and dimension.log:
        scale_log(axes, "x", dimension.low, dimension.high)
        axes.set_xlim(dimension.low / 1.1, dimension.high * 1.1)  # the trials alone may be too close for a mark
    elif all(isinstance(end, int) for end in dimension.ends()):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return lambda point: float(point.values[index])


def _importance(found: SearchResult, n_done: int, path: Path) -> Path:
    """How much each key contributes to good results."""
    shares = sorted(found.importances.items(), key=lambda item: item[1])
    with Canvas(path, 6.0, 1.3 + 0.4 * len(shares)) as figure:
        axes = figure.add_subplot()
        bars = axes.barh([key for key, _ in shares], [share for _, share in shares], color=BLUE, height=0.6)
        axes.bar_label(bars, labels=[f"{share * 100:.0f} %" for _, share in shares], padding=4)
        axes.set_xlim(0, max(share for _, share in shares) * 1.15 or 1.0)
        axes.set_xticks([])
        axes.grid(visible=False)
        axes.spines["bottom"].set_color(PALE)
        axes.set_xlabel("drawn of at least 10 completed trials, and 3 for each key", fontsize=8, color=GREY)
        _title(figure, f"Importance among {n_done} completed trials (PED-ANOVA)")
    return path


def _label_metric(axes: Axes, metric: Metric) -> None:
    axes.set_ylabel(format_metric_name(metric.name))
    if metric.name == "accuracy":
        percent(axes)


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(text, x=0.01, ha="left", fontsize=11, fontweight="bold")
