"""What a figure of a comparison shows, as data."""

from __future__ import annotations

import math
from typing import NamedTuple

from metaexp.compare.output.colours import Look
from metaexp.compare.statistics.pairs import Estimate

_TOO_LARGE = 1e30
"""Values of runs that diverged beyond this cannot be drawn."""


class Point(NamedTuple):
    """A value at ``x`` with its interval. Without an interval, ``low`` and ``high`` are the value itself."""

    x: float
    mean: float
    low: float
    high: float


class Series(NamedTuple):
    """Points that belong together.

    Attributes:
        label: Its name.
        look: Its colour and mark.
        points: The points, in the order of x.
        seeds: Values of single seeds, shown beside a point.
    """

    label: str
    look: Look
    points: list[Point]
    seeds: list[float]


class FigureData(NamedTuple):
    """What a figure shows.

    Attributes:
        name: The name of the file.
        title: The text above it.
        kind: dots (one point for each series, from top to bottom), lines (points over x), or cells (a heat map, with a
            series for each row and x for its columns).
        series: What is drawn.
        x_label: The label of the x axis.
        y_label: The label of the y axis.
        percent: Whether values are fractions, shown in percent (differences in points).
        note: The text below it.
        zero: Whether there is a line at zero.
        values: The values of x, where these are values of a setting: only they are ticks of the axis.
    """

    name: str
    title: str
    kind: str
    series: list[Series]
    x_label: str
    y_label: str
    percent: bool
    note: str
    zero: bool = False
    values: tuple[float, ...] = ()


def make_point(x: float, estimate: Estimate) -> Point | None:
    """Return a point with its interval; None for values that are too large to draw.

    Args:
        x: Where it is.
        estimate: Its value with the interval.
    """
    low = estimate.mean if estimate.low is None else estimate.low
    high = estimate.mean if estimate.high is None else estimate.high
    drawable = all(math.isfinite(value) and abs(value) < _TOO_LARGE for value in (estimate.mean, low, high))
    return Point(x, estimate.mean, low, high) if drawable else None
