"""The figures of a comparison as data, which ``draw`` draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from metaexp.compare.budget import AXES, validation_places
from metaexp.compare.comparison import ComparedRuns, RowResult, Table
from metaexp.compare.output.colours import Look, looks_of
from metaexp.compare.output.fairness import format_unlike
from metaexp.compare.output.figure_data import FigureData, Point, Series, make_point
from metaexp.compare.output.over_settings import over_settings
from metaexp.compare.statistics.effects import summarise
from metaexp.compare.statistics.pairs import Estimate, estimate_mean
from metaexp.core.counted import counted
from metaexp.core.metric import format_metric_name, is_hit_rate
from metaexp.results.figures.style import FEWEST_POINTS
from metaexp.results.history import History

MOST_LINES = 12
"""Lines in one figure that can be told apart."""


def figures(comparison: ComparedRuns, axis: str = "steps") -> list[FigureData]:
    """Return every figure that the runs have numbers for.

    Args:
        comparison: What they show.
        axis: What the learning curves are drawn over: a name in :data:`AXES`.
    """
    looks = looks_of([row for table in comparison.tables for row in table.rows])
    found: list[FigureData | None] = []
    for number, table in enumerate(comparison.tables):
        end = f"_{number + 1}" if len(comparison.tables) > 1 else ""
        found += [
            _scores(table, looks, f"scores{end}"),
            _differences(table, looks, f"differences{end}"),
            _learning(table, looks, f"learning{end}", comparison.histories, axis),
            _adaptation(table, looks, f"adaptation{end}"),
            *over_settings(table, looks, f"settings{end}"),
        ]
    found += _over_tasks(comparison, looks, "k_shot", "n_way", "shots")
    found += _over_tasks(comparison, looks, "n_way", "k_shot", "ways")
    return [figure for figure in found if figure is not None]


def _note(text: str, series: Sequence[Series], wanted: Sequence[RowResult]) -> str:
    """The note below a figure, with the rows that could not be drawn."""
    shown = {item.label for item in series}
    missing = [row.name for row in wanted if row.name not in shown]
    return f"{text} Not drawn, too large: {', '.join(missing)}." if missing else text


def _scores(table: Table, looks: dict[str, Look], name: str) -> FigureData | None:
    series = []
    for row in table.rows:
        point = make_point(0.0, row.estimate)
        if point is not None:
            seeds = [run.test.mean for run in row.runs] if len(row.runs) > 1 else []
            series.append(Series(row.name, looks[row.label], [point], seeds))
    if not series:
        return None
    return FigureData(
        name, f"{table.title}: test {format_metric_name(table.metric)}", "dots", series,
        f"test {format_metric_name(table.metric)}", "", is_hit_rate(table.metric),
        _note("95 % intervals; small marks are single seeds.", series, table.rows),
    )  # fmt: skip


def _differences(table: Table, looks: dict[str, Look], name: str) -> FigureData | None:
    series = []
    for row in table.rows[1:]:
        assert row.to_best is not None
        point = make_point(0.0, table.lead(table.pairs[row.to_best]))
        if point is not None:
            series.append(Series(row.name, looks[row.label], [point], []))
    if not series:
        return None
    unit = "points of accuracy" if is_hit_rate(table.metric) else format_metric_name(table.metric)
    note = "Paired differences with 95 % intervals, not corrected for the number of comparisons."
    return FigureData(
        name, f"{table.title}: how far behind {table.rows[0].name}", "dots", series,
        f"{unit} behind {table.rows[0].name}", "", is_hit_rate(table.metric),
        _note(note, series, table.rows[1:]), True,
    )  # fmt: skip


def _learning(
    table: Table, looks: dict[str, Look], name: str, histories: Mapping[Path, History], axis: str
) -> FigureData | None:
    series = []
    validated = [[run for run in row.runs if not run.is_later] for row in table.rows]  # others: on other tasks
    unread = [run for runs in validated for run in runs if run.folder not in histories]
    for row, runs in zip(table.rows, validated, strict=True):
        known = [run for run in runs if run.folder in histories]
        curves = [_validation(histories[run.folder], table.metric) for run in known]
        places = [validation_places(run.record, histories[run.folder], axis) for run in known]
        shared = [set(curve) & set(place) for curve, place in zip(curves, places, strict=True) if curve]
        steps = sorted(set.intersection(*shared)) if shared else []
        if len(steps) < 2:
            continue
        points = []
        for step in steps:
            values = [curve[step] for curve in curves if curve]
            x = float(np.mean([place[step] for place, curve in zip(places, curves, strict=True) if curve]))
            point = make_point(x, Estimate(float(np.mean(values)), min(values), max(values), True))
            if point is not None:
                points.append(point)
        if points:
            series.append(Series(row.name, looks[row.label], points, []))
    if all(len(one.points) < FEWEST_POINTS for one in series):
        return None
    note = "Mean over seeds; bands reach from the lowest seed to the highest."
    if len(unread) > 1:
        note += f" Without {counted(len(unread), 'run')} whose curve cannot be read."
    elif unread:
        note += " Without one run, whose curve cannot be read."
    drawn, more = _first(series)
    return FigureData(
        name, f"{table.title}: learning", "lines", drawn, AXES[axis],
        f"validation {format_metric_name(table.metric)}", is_hit_rate(table.metric), note + more,
    )  # fmt: skip


def _first(series: list[Series]) -> tuple[list[Series], str]:
    """The lines of the best rows, and a sentence where others are left out."""
    if len(series) <= MOST_LINES:
        return series, ""
    return series[:MOST_LINES], f" Only the best {MOST_LINES} of {counted(len(series), 'row')}."


def _validation(history: History, metric: str) -> dict[float, float]:
    if history.metric != metric:
        return {}
    return dict(zip(history.validation.steps, history.validation.values, strict=True))


def _adaptation(table: Table, looks: dict[str, Look], name: str) -> FigureData | None:
    series = []
    for row in table.rows:
        n_steps = min(len(run.per_step) for run in row.runs)
        if n_steps < 2:
            continue
        points = []
        for step in range(n_steps):
            values = np.stack([run.per_step[step] for run in row.runs])
            point = make_point(step, estimate_mean(summarise(values), is_hit_rate(table.metric)))
            if point is None:
                break
            points.append(point)
        if points:
            series.append(Series(row.name, looks[row.label], points, []))
    if all(len(one.points) < FEWEST_POINTS for one in series):
        return None
    drawn, more = _first(series)
    return FigureData(
        name, f"{table.title}: adaptation", "lines", drawn, "adaptation steps on the support set",
        f"test {format_metric_name(table.metric)}", is_hit_rate(table.metric),
        f"95 % intervals. Algorithms without steps are not shown.{more}",
    )  # fmt: skip


def _over_tasks(
    comparison: ComparedRuns, looks: dict[str, Look], axis: str, fixed: str, words: str
) -> list[FigureData]:
    """One figure over ``axis`` (shots, say) for each dataset and value of ``fixed`` (ways) with two points or more."""
    groups: dict[tuple[str, int, str], list[tuple[int, Table]]] = {}
    for table in comparison.tables:
        place = {"n_way": table.n_way, "k_shot": table.k_shot}
        groups.setdefault((table.dataset, place[fixed], table.metric), []).append((place[axis], table))
    found = [
        _over(sorted(members, key=lambda m: m[0]), looks, key, words, format_unlike(comparison, key[2]))
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
    members: list[tuple[int, Table]], looks: dict[str, Look], key: tuple[str, int, str], words: str, unlike: str
) -> FigureData:
    """A figure of scores over shots or ways; ``unlike`` says which rows have other settings on other tasks."""
    dataset, value, metric = key
    lines: dict[tuple[str, Look], list[Point]] = {}
    for x, table in members:
        for row in table.rows:
            point = make_point(x, row.estimate)
            if point is not None:
                lines.setdefault((row.name, looks[row.label]), []).append(point)
    other = f"{value}-way" if words == "shots" and value else f"{value}-shot" if words == "ways" else "regression"
    return FigureData(
        f"{words}_{other.replace('-', '_')}", f"{dataset}, {other}: {words}", "lines",
        [Series(label, look, points, []) for (label, look), points in sorted(lines.items())],
        {"shots": "shots per class", "ways": "ways"}[words] if value else "shots", f"test {format_metric_name(metric)}",
        is_hit_rate(metric),
        f"95 % intervals. Every place on the x axis is its own bank of episodes. {unlike}".rstrip(),
    )  # fmt: skip
