"""The content of the figures of a comparison as data, which ``draw`` draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metaexp.compare.comparison import Comparison, RowResult, Table
from metaexp.compare.output.colours import colours_of
from metaexp.compare.statistics.effects import summarise
from metaexp.compare.statistics.pairs import Estimate, estimate_mean
from metaexp.core.metric import format_metric_name, is_hit_rate
from metaexp.results.figures.points import FEWEST_POINTS
from metaexp.results.history import History

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
        colour: An index.
        points: The points, in the order of x.
        seeds: Values of single seeds, shown beside a point.
    """

    label: str
    colour: int
    points: list[Point]
    seeds: list[float]


class FigureData(NamedTuple):
    """What a figure shows.

    Attributes:
        name: The name of the file.
        title: The text above it.
        kind: dots (one point for each series, from top to bottom) or lines (points over x).
        series: What is drawn.
        x_label: The label of the x axis.
        y_label: The label of the y axis.
        percent: Whether values are fractions, shown in percent (differences in points).
        note: The text below it.
        zero: Whether there is a line at zero.
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


def figures(comparison: Comparison) -> list[FigureData]:
    """Return every figure that the runs have numbers for."""
    colours = colours_of([row for table in comparison.tables for row in table.rows])
    found: list[FigureData | None] = []
    for number, table in enumerate(comparison.tables):
        end = f"_{number + 1}" if len(comparison.tables) > 1 else ""
        found += [
            _scores(table, colours, f"scores{end}"),
            _differences(table, colours, f"differences{end}"),
            _learning(table, colours, f"learning{end}", comparison.histories),
            _adaptation(table, colours, f"adaptation{end}"),
        ]
    found += _over_tasks(comparison, colours, "k_shot", "n_way", "shots")
    found += _over_tasks(comparison, colours, "n_way", "k_shot", "ways")
    return [figure for figure in found if figure is not None]


def _point(x: float, estimate: Estimate) -> Point | None:
    """A point with its interval; None for values that are too large to draw."""
    low = estimate.mean if estimate.low is None else estimate.low
    high = estimate.mean if estimate.high is None else estimate.high
    drawable = all(math.isfinite(value) and abs(value) < _TOO_LARGE for value in (estimate.mean, low, high))
    return Point(x, estimate.mean, low, high) if drawable else None


def _note(text: str, series: Sequence[Series], wanted: Sequence[RowResult]) -> str:
    """The note below a figure, with the rows that could not be drawn."""
    shown = {item.label for item in series}
    missing = [row.name for row in wanted if row.name not in shown]
    return f"{text} Not drawn, too large: {', '.join(missing)}." if missing else text


def _scores(table: Table, colours: dict[str, int], name: str) -> FigureData | None:
    series = []
    for row in table.rows:
        point = _point(0.0, row.estimate)
        if point is not None:
            seeds = [run.test.mean for run in row.runs] if len(row.runs) > 1 else []
            series.append(Series(row.name, colours[row.label], [point], seeds))
    if not series:
        return None
    return FigureData(
        name, f"{table.title}: test {format_metric_name(table.metric)}", "dots", series,
        f"test {format_metric_name(table.metric)}", "", is_hit_rate(table.metric),
        _note("95 % intervals; small marks are single seeds.", series, table.rows),
    )  # fmt: skip


def _differences(table: Table, colours: dict[str, int], name: str) -> FigureData | None:
    series = []
    for row in table.rows[1:]:
        assert row.to_best is not None
        point = _point(0.0, table.lead(table.pairs[row.to_best]))
        if point is not None:
            series.append(Series(row.name, colours[row.label], [point], []))
    if not series:
        return None
    unit = "points of accuracy" if is_hit_rate(table.metric) else format_metric_name(table.metric)
    note = "Paired differences with 95 % intervals, not corrected for their number."
    return FigureData(
        name, f"{table.title}: how far behind {table.rows[0].name}", "dots", series,
        f"{unit} behind {table.rows[0].name}", "", is_hit_rate(table.metric),
        _note(note, series, table.rows[1:]), True,
    )  # fmt: skip


def _learning(table: Table, colours: dict[str, int], name: str, histories: Mapping[Path, History]) -> FigureData | None:
    series = []
    unread = [run for row in table.rows for run in row.runs if run.folder not in histories]
    for row in table.rows:
        known = [histories[run.folder] for run in row.runs if run.folder in histories]
        curves = [curve for curve in (_validation(history, table.metric) for history in known) if curve]
        steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
        if len(steps) < 2:
            continue
        points = []
        for step in steps:
            values = [curve[step] for curve in curves]
            point = _point(step, Estimate(float(np.mean(values)), min(values), max(values), True))
            if point is not None:
                points.append(point)
        if points:
            series.append(Series(row.name, colours[row.label], points, []))
    if not series:
        return None
    return FigureData(
        name, f"{table.title}: learning", "lines", series, "training steps",
        f"validation {format_metric_name(table.metric)}", is_hit_rate(table.metric),
        "Mean over seeds; bands reach from the lowest seed to the highest."
        + (f" Without {len(unread)} runs whose curve cannot be read." if len(unread) > 1 else "")
        + (" Without one run, whose curve cannot be read." if len(unread) == 1 else ""),
    )  # fmt: skip


def _validation(history: History, metric: str) -> dict[float, float]:
    if history.metric != metric:
        return {}
    return dict(zip(history.validation.steps, history.validation.values, strict=True))


def _adaptation(table: Table, colours: dict[str, int], name: str) -> FigureData | None:
    series = []
    for row in table.rows:
        n_steps = min(len(run.per_step) for run in row.runs)
        if n_steps < 2:
            continue
        points = []
        for step in range(n_steps):
            values = np.stack([run.per_step[step] for run in row.runs])
            point = _point(step, estimate_mean(summarise(values), is_hit_rate(table.metric)))
            if point is None:
                break
            points.append(point)
        if points:
            series.append(Series(row.name, colours[row.label], points, []))
    if all(len(one.points) < FEWEST_POINTS for one in series):
        return None
    return FigureData(
        name, f"{table.title}: adaptation", "lines", series, "adaptation steps on the support set",
        f"test {format_metric_name(table.metric)}", is_hit_rate(table.metric),
        "95 % intervals. Algorithms without steps are not shown.",
    )  # fmt: skip


def _over_tasks(comparison: Comparison, colours: dict[str, int], axis: str, fixed: str, words: str) -> list[FigureData]:
    """One figure over ``axis`` (shots, say) for each dataset and value of ``fixed`` (ways) with two points or more."""
    groups: dict[tuple[str, int, str], list[tuple[int, Table]]] = {}
    for table in comparison.tables:
        place = {"n_way": table.n_way, "k_shot": table.k_shot}
        groups.setdefault((table.dataset, place[fixed], table.metric), []).append((place[axis], table))
    found = [
        _over(sorted(members, key=lambda m: m[0]), colours, key, words)
        for key, members in groups.items()
        if len({x for x, _ in members}) > 1
    ]
    names = [figure.name for figure in found]  # equal for several datasets
    return [
        figure._replace(name=f"{figure.name}_{names[: place + 1].count(figure.name)}")
        if names.count(figure.name) > 1
        else figure
        for place, figure in enumerate(found)
    ]


def _over(
    members: list[tuple[int, Table]], colours: dict[str, int], key: tuple[str, int, str], words: str
) -> FigureData:
    """A figure of scores over shots or ways."""
    dataset, value, metric = key
    lines: dict[tuple[str, int], list[Point]] = {}
    for x, table in members:
        for row in table.rows:
            point = _point(x, row.estimate)
            if point is not None:
                lines.setdefault((row.name, colours[row.label]), []).append(point)
    other = f"{value}-way" if words == "shots" and value else f"{value}-shot" if words == "ways" else "regression"
    return FigureData(
        f"{words}_{other.replace('-', '_')}", f"{dataset}, {other}: {words}", "lines",
        [Series(label, colour, points, []) for (label, colour), points in sorted(lines.items())],
        {"shots": "shots per class", "ways": "ways"}[words] if value else "shots", f"test {format_metric_name(metric)}",
        is_hit_rate(metric), "95 % intervals. Every place on the x axis is its own bank of episodes.",
    )  # fmt: skip
