"""The figures of a comparison as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

from metaexp.compare.output.escape import plain
from metaexp.compare.output.figures import Figure, Series
from metaexp.results.pictures.style import CYCLE, GREY, Canvas, thousands

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

MARKERS = ("o", "s", "D", "^", "v", "P", "X")
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))


def draw(figure: Figure, path: Path) -> None:
    """Write one figure. Names are drawn as they are: nothing in them is taken for mathematics."""
    height = 1.7 + 0.42 * len(figure.series) if figure.kind == "dots" else 4.2
    with Canvas(path, 7.2, height) as canvas, matplotlib.rc_context({"text.parse_math": False}):
        axes = canvas.subplots()
        axes.set_title(_short(figure.title, 80), fontsize=10.5)
        if figure.kind == "dots":
            _dots(axes, figure)
        else:
            _lines(axes, figure)
        canvas.supxlabel(plain(figure.note), x=0.99, ha="right", fontsize=7.5, color=GREY)


def _dots(axes: Axes, figure: Figure) -> None:
    scale = 100.0 if figure.percent else 1.0
    for place, series in enumerate(figure.series):
        colour, (point,) = CYCLE[series.colour % len(CYCLE)], series.points
        mean, low, high = (value * scale for value in (point.mean, point.low, point.high))
        marker = MARKERS[series.colour % len(MARKERS)]
        axes.plot([low, high], [place, place], color=colour, linewidth=2.0, marker="|", markersize=7, zorder=3)
        axes.plot([mean], [place], marker, color=colour, markersize=7, zorder=4)
        seeds = [value * scale for value, _ in series.dots]
        axes.plot(seeds, [place + 0.24] * len(seeds), "|", color=colour, markersize=7, alpha=0.8)
    axes.set_yticks(range(len(figure.series)), [_short(series.label) for series in figure.series])
    axes.set_ylim(len(figure.series) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    if figure.zero:
        axes.axvline(0.0, color=GREY, linewidth=1.2, zorder=1.5)
    axes.set_xlabel(_short(figure.x_label + (" (%)" if figure.percent and not figure.zero else "")))
    axes.margins(x=0.08)


def _lines(axes: Axes, figure: Figure) -> None:
    scale = 100.0 if figure.percent else 1.0
    lines = [_line(axes, series, scale) for series in figure.series]
    axes.set_xlabel(plain(figure.x_label))
    axes.set_ylabel(plain(figure.y_label + (" (%)" if figure.percent else "")))
    axes.legend(lines, [f"\u200a{_short(series.label)}" for series in figure.series])  # "_x" would be left out
    thousands(axes)


def _line(axes: Axes, series: Series, scale: float) -> Line2D:
    colour = CYCLE[series.colour % len(CYCLE)]
    x = [point.x for point in series.points]
    low, high = [p.low * scale for p in series.points], [p.high * scale for p in series.points]
    axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
    (line,) = axes.plot(
        x,
        [p.mean * scale for p in series.points],
        color=colour,
        linestyle=_DASHES[series.colour // len(CYCLE) % len(_DASHES)],
        marker=MARKERS[series.colour % len(MARKERS)] if len(x) <= 30 else None,
        markersize=4.5,
    )
    return line


def _short(text: str, most: int = 44) -> str:
    """One line without control characters, cut where it would leave no room for the axes."""
    text = plain(text)
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
