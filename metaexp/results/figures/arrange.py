"""Finds places for the panels of a figure and wraps the texts around them, so that none is cut or lies on another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from metaexp.results.figures.lettering import Font, block, points, width, wrapped
from metaexp.results.figures.style import INK
from metaexp.results.figures.ticks import TICK_SIZE, Ticks, x_ticks, y_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = Font(11.0, INK, bold=True)
HEADING = Font(9.0, INK)
NUMBER = Font(TICK_SIZE, INK)
LABEL = Font(10.0, INK)
UPRIGHT = Font(10.0, INK, upright=True)
TICK = round(points(3.5))
"""Length of a tick in pixels."""
_PAD = round(points(3.0))
_TO_NUMBER = TICK + points(3.5)
_TO_LABEL, _TO_TITLE, _TO_HEADING, _TO_LEGEND = points(3.5), points(6.0), points(4.0), points(5.0)
_BETWEEN_ROWS, _BETWEEN_COLUMNS = points(7.0), points(9.0)
_PASSES = 4
_NONE = Ticks(np.empty(0), [], np.empty(0))


class Plan(NamedTuple):
    """What is arranged.

    Attributes:
        size: Width and height of the figure in pixels.
        rows: The panels of each row. All of a row share the y axis.
        ratios: Heights of the rows, relative to each other.
        title: Of the figure.
        below: Height of the legend below the panels in pixels; 0 without one.
    """

    size: tuple[int, int]
    rows: Sequence[Sequence[Axes]]
    ratios: Sequence[float]
    title: str
    below: float


class Panel(NamedTuple):
    """A panel in its place.

    Attributes:
        axes: The panel.
        x: Its ticks. Without names where the panel below has the same.
        y: Its ticks. Without names where the panel to the left has the same.
        heading: Lines of its title.
        x_label: Lines of the label of its x axis.
        y_label: Lines of the label of its y axis.
    """

    axes: Axes
    x: Ticks
    y: Ticks
    heading: list[str]
    x_label: list[str]
    y_label: list[str]


class Arrangement(NamedTuple):
    """Where everything is, in pixels.

    Attributes:
        panels: All of them.
        title: Its lines.
        title_at: Its upper left corner.
        legend_at: Upper left corner of the legend below.
    """

    panels: list[Panel]
    title: list[str]
    title_at: tuple[float, float]
    legend_at: tuple[float, float]


class _Margins(NamedTuple):
    left: float
    right: float
    between: float


def arrange(plan: Plan) -> Arrangement:
    """Place the panels.

    The margins depend on the numbers at the ticks, and these on the lengths of the axes. So there are passes.
    """
    margins = _Margins(points(38.0), 2.0 * _PAD, _BETWEEN_COLUMNS)
    for attempt in range(_PASSES):
        made = _place(plan, margins)
        needed = _needed(plan, made)
        if attempt and all(now >= wanted for now, wanted in zip(margins, needed, strict=True)):
            break
        margins = needed if attempt == 0 else _Margins(*map(max, margins, needed))
    return made


def _place(plan: Plan, margins: _Margins) -> Arrangement:
    """Set the places of the axes for these margins."""
    wide, high = plan.size
    columns = max(map(len, plan.rows))
    each = (wide - margins.left - margins.right - margins.between * (columns - 1)) / columns
    x = margins.left if columns == 1 else 2.0 * _PAD
    title = wrapped(plan.title, wide - x - _PAD, TITLE.size, bold=True, most=5)
    headings = [[_lines(axes.get_title("left"), each, HEADING) for axes in row] for row in plan.rows]
    bands = _bands(plan, block(title, TITLE)[1], headings, each)
    panels = []
    for row, (y0, y1), texts in zip(plan.rows, bands, headings, strict=True):
        for column, axes in enumerate(row):
            x0 = margins.left + column * (each + margins.between)
            axes.set_position((x0 / wide, y0 / high, each / wide, (y1 - y0) / high))
        y = y_ticks(row[0])
        for column, axes in enumerate(row):
            named = y if column == 0 else y._replace(names=[])
            y_label = _lines(axes.get_ylabel(), y1 - y0 + _BETWEEN_ROWS, LABEL)
            x_label = _lines(axes.get_xlabel(), each, LABEL)
            panels.append(Panel(axes, _NONE, named, texts[column], x_label, y_label))
    return Arrangement(_with_x(plan, panels), title, (x, high - _PAD), (2.0 * _PAD, _PAD + plan.below))


def _with_x(plan: Plan, panels: list[Panel]) -> list[Panel]:
    lowest = plan.rows[-1][0]
    done = []
    for panel in panels:
        hidden = _continues_below(panel.axes, lowest)
        ticks = x_ticks(panel.axes)
        done.append(panel._replace(x=ticks._replace(names=[]) if hidden else ticks))
    return done


def _continues_below(axes: Axes, lowest: Axes) -> bool:
    """Whether the numbers of the x axis are at a lower panel."""
    return axes is not lowest and bool(axes.get_shared_x_axes().joined(axes, lowest))


def _bands(plan: Plan, title: float, headings: list[list[list[str]]], each: float) -> list[tuple[float, float]]:
    """Lower and upper end of each row of panels."""
    heads = [max(block(lines, HEADING)[1] + _TO_HEADING if lines else 0.0 for lines in row) for row in headings]
    feet = [max(_foot(axes, plan.rows[-1][0], each) for axes in row) for row in plan.rows]
    top = plan.size[1] - _PAD - title - (_TO_HEADING if any(heads) else _TO_TITLE)
    bottom = _PAD + (plan.below + _TO_LEGEND if plan.below else 0.0)
    used = sum(heads) + sum(feet) + _BETWEEN_ROWS * (len(heads) - 1)
    free = max(top - bottom - used, 10.0 * len(heads))
    bands = []
    for head, foot, ratio in zip(heads, feet, plan.ratios, strict=True):
        upper = round(top - head)
        lower = round(top - head - free * ratio / sum(plan.ratios))
        bands.append((float(lower), float(upper)))
        top = lower - foot - _BETWEEN_ROWS
    return bands


def _foot(axes: Axes, lowest: Axes, each: float) -> float:
    """Height of what is below a panel."""
    if _continues_below(axes, lowest):
        return float(TICK)
    label = _lines(axes.get_xlabel(), each, LABEL)
    numbers = _TO_NUMBER + block(["0"], NUMBER)[1]
    return numbers + (_TO_LABEL + block(label, LABEL)[1] if label else 0.0)


def _needed(plan: Plan, made: Arrangement) -> _Margins:
    """The margins that the texts of an arrangement need."""
    labels = max(block(panel.y_label, LABEL)[1] + _TO_LABEL if panel.y_label else 0.0 for panel in made.panels)
    numbers = max(width(name, TICK_SIZE) for panel in made.panels for name in (*panel.y.names, ""))
    left, right, between = _PAD + labels + numbers + _TO_NUMBER, float(_PAD), _BETWEEN_COLUMNS
    place = {id(panel.axes): panel for panel in made.panels}
    for row in plan.rows:
        overs = [place[id(axes)].x.overhang(axes.bbox.x0, axes.bbox.x1) for axes in row]
        left, right = max(left, overs[0][0] + _PAD), max(right, overs[-1][1] + _PAD)
        for (_, end), (start, _) in pairwise(overs):
            between = max(between, end + start + points(6.0))
    return _Margins(float(np.ceil(left)), float(np.ceil(right)), float(np.ceil(between)))


def number_place(axes: Axes) -> tuple[float, float]:
    """Return the right end of the numbers of the y axis, and the upper end of those of the x axis."""
    return axes.bbox.x0 - _TO_NUMBER, axes.bbox.y0 - _TO_NUMBER


def label_places(panel: Panel, high: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the middle of the upright label of the y axis, and the top of the label of the x axis.

    Args:
        panel: Their panel.
        high: Height of the figure in pixels.
    """
    axes = panel.axes
    long, thick = block(panel.y_label or [""], LABEL)
    y = min(max((axes.bbox.y0 + axes.bbox.y1) / 2, _PAD + long / 2), high - _PAD - long / 2)
    below = axes.bbox.y0 - _TO_NUMBER - block(["0"], NUMBER)[1] - _TO_LABEL
    return (_PAD + thick / 2, y), ((axes.bbox.x0 + axes.bbox.x1) / 2, below)


def _lines(text: str, room: float, font: Font) -> list[str]:
    return wrapped(text, room, font.size, font.bold) if text else []
