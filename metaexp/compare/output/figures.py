"""What the figures of a comparison show, as data; drawn as PNG by ``png`` and for the page by ``svg``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from metaexp.compare.comparison import Comparison, RowResult, Table
from metaexp.compare.gather import Run
from metaexp.compare.output import wording as c
from metaexp.compare.statistics.effects import effect, standard_errors, summarise
from metaexp.compare.statistics.pairs import Estimate, estimate
from metaexp.core.errors import RunFolderError
from metaexp.results.history import read_history

_DRAWS = 2000
"""Bootstrap samples for the intervals of curves, which are looked at and not tested."""


class Point(NamedTuple):
    """A value at ``x`` with an interval, and what is said of it when it is pointed at."""

    x: float
    mean: float
    low: float
    high: float
    tip: str


class Series(NamedTuple):
    """Points that belong together; ``colour`` is an index. ``dots``: single values (seeds) to show beside a point."""

    label: str
    colour: int
    points: list[Point]
    dots: list[tuple[float, str]]


class Figure(NamedTuple):
    """kind: dots (one point a series, categories downwards) or lines (points over x). zero: a line at zero.

    name: of the file. percent: values are fractions to be shown in percent (differences: in points).
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
    whole_x: bool = True


def figures(comparison: Comparison) -> list[Figure]:
    """Every figure that the runs give material for."""
    colours = {label: index for index, label in enumerate(comparison.labels)}
    found: list[Figure | None] = []
    for number, table in enumerate(comparison.tables):
        end = f"_{number + 1}" if len(comparison.tables) > 1 else ""
        found += [
            _scores(table, colours, f"scores{end}"),
            _differences(table, colours, f"differences{end}"),
            _learning(table, colours, f"learning{end}"),
            _adaptation(table, colours, f"adaptation{end}"),
        ]
    found += _over_tasks(comparison, colours, "k_shot", "n_way", "shots")
    found += _over_tasks(comparison, colours, "n_way", "k_shot", "ways")
    return [figure for figure in found if figure is not None]


def metric_words(metric: str) -> str:
    """The metric as an axis says it."""
    return {"accuracy": "accuracy", "mse": "mean squared error"}[metric]


def _tip(table: Table, label: str, item: Estimate, more: str = "") -> str:
    return (
        f"{label}{more}: {c.format_mean(table.metric, item.mean)}, 95 % interval {c.format_range(table.metric, item)}"
    )


def _scores(table: Table, colours: dict[str, int], name: str) -> Figure:
    series = []
    for row in table.rows:
        item = row.estimate
        dots = [
            (run.test.mean, f"{row.label}, seed {run.record.seed}: {c.format_mean(table.metric, run.test.mean)}")
            for run in row.runs
        ]
        point = Point(0.0, item.mean, item.low, item.high, _tip(table, row.label, item))
        series.append(Series(row.label, colours[row.label], [point], dots if len(dots) > 1 else []))
    return Figure(
        name, f"{table.title}: test {metric_words(table.metric)}", "dots", series,
        f"test {metric_words(table.metric)}", "", table.metric == "accuracy",
        "95 % intervals; small marks are single seeds.",
    )  # fmt: skip


def _differences(table: Table, colours: dict[str, int], name: str) -> Figure | None:
    series = []
    sign = 1.0 if table.larger_is_better else -1.0
    for row in table.rows[1:]:
        assert row.to_best is not None
        pair = table.pairs[row.to_best]
        low, high = sorted((sign * pair.difference.low, sign * pair.difference.high))
        item = Estimate(sign * pair.difference.mean, low, high, pair.difference.over_seeds)
        tip = (
            f"{row.label} is behind {table.rows[0].label} by {c.format_difference(table.metric, item.mean).lstrip('+')}, "
            f"95 % interval {c.format_range(table.metric, item)}, corrected p {c.format_p(pair.corrected)}"
        )
        series.append(Series(row.label, colours[row.label], [Point(0.0, item.mean, low, high, tip)], []))
    if not series:
        return None
    unit = "points of accuracy" if table.metric == "accuracy" else metric_words(table.metric)
    return Figure(
        name, f"{table.title}: how far behind {table.rows[0].label}", "dots", series,
        f"{unit} behind {table.rows[0].label}", "", table.metric == "accuracy",
        "Paired differences with 95 % intervals, not corrected for their number.", True,
    )  # fmt: skip


def _learning(table: Table, colours: dict[str, int], name: str) -> Figure | None:
    series = []
    for row in table.rows:
        curves = [curve for curve in (_validation(run, table.metric) for run in row.runs) if curve]
        steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
        if len(steps) < 2:
            continue
        points = []
        for step in steps:
            values = [curve[step] for curve in curves]
            mean = float(np.mean(values))
            tip = f"{row.label} after {step:,.0f} updates: {c.format_mean(table.metric, mean)}"
            if len(values) > 1:
                low, high = c.format_mean(table.metric, min(values)), c.format_mean(table.metric, max(values))
                tip += f", seeds from {low} to {high}"
            points.append(Point(step, mean, min(values), max(values), tip))
        series.append(Series(row.label, colours[row.label], points, []))
    if not series:
        return None
    return Figure(
        name, f"{table.title}: learning", "lines", series, "meta-updates", f"validation {metric_words(table.metric)}",
        table.metric == "accuracy", "Mean over seeds; bands reach from the lowest seed to the highest.",
    )  # fmt: skip


def _validation(run: Run, metric: str) -> dict[float, float]:
    try:
        history = read_history(run.folder)
    except RunFolderError:
        return {}
    return (
        dict(zip(history.validation.steps, history.validation.values, strict=True)) if history.metric == metric else {}
    )


def _adaptation(table: Table, colours: dict[str, int], name: str) -> Figure | None:
    series = []
    for row in table.rows:
        n_steps = min(len(run.per_step) for run in row.runs)
        if n_steps < 2:
            continue
        points = []
        for step, item in enumerate(
            _estimates([np.stack([run.per_step[step] for run in row.runs]) for step in range(n_steps)])
        ):
            if not np.isfinite(item.mean):
                break
            after = f" after {step} step{'s' if step != 1 else ''}"
            points.append(Point(step, item.mean, item.low, item.high, _tip(table, row.label, item, after)))
        series.append(Series(row.label, colours[row.label], points, []))
    if not series:
        return None
    return Figure(
        name, f"{table.title}: adaptation", "lines", series, "adaptation steps on the support set",
        f"test {metric_words(table.metric)}", table.metric == "accuracy",
        "95 % intervals. Algorithms without steps are not shown.",
    )  # fmt: skip


def _estimates(values: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]) -> list[Estimate]:
    effects = [effect(summarise(value)) for value in values]
    errors = standard_errors(effects, _DRAWS)
    return [estimate(item, float(error)) for item, error in zip(effects, errors, strict=True)]


def _over_tasks(comparison: Comparison, colours: dict[str, int], axis: str, fixed: str, words: str) -> list[Figure]:
    """One figure for each dataset and ``fixed`` value with at least two values of ``axis``."""
    groups: dict[tuple[str, int, str], list[tuple[int, Table]]] = {}
    for table in comparison.tables:
        place = {"n_way": table.n_way, "k_shot": table.k_shot}
        groups.setdefault((table.dataset, place[fixed], table.metric), []).append((place[axis], table))
    found = [
        _over(sorted(members, key=lambda m: m[0]), colours, key, words)
        for key, members in groups.items()
        if len({x for x, _ in members}) > 1
    ]
    names = [figure.name for figure in found]  # of several datasets the same
    return [
        figure._replace(name=f"{figure.name}_{names[: place + 1].count(figure.name)}")
        if names.count(figure.name) > 1
        else figure
        for place, figure in enumerate(found)
    ]


def _over(members: list[tuple[int, Table]], colours: dict[str, int], key: tuple[str, int, str], words: str) -> Figure:
    dataset, value, metric = key
    lines: dict[str, list[Point]] = {}
    for x, table in members:
        for row in table.rows:
            lines.setdefault(row.label, []).append(_at(x, table, row))
    other = f"{value}-way" if words == "shots" and value else f"{value}-shot" if words == "ways" else "regression"
    return Figure(
        f"{words}_{other.replace('-', '_')}", f"{dataset}, {other}: {words}", "lines",
        [Series(label, colours[label], points, []) for label, points in sorted(lines.items())],
        {"shots": "shots per class", "ways": "ways"}[words] if value else "shots", f"test {metric_words(metric)}",
        metric == "accuracy", "95 % intervals. Every place on the x axis is its own bank of episodes.",
    )  # fmt: skip


def _at(x: int, table: Table, row: RowResult) -> Point:
    item = row.estimate
    return Point(x, item.mean, item.low, item.high, _tip(table, f"{row.label}, {table.title}", item))
