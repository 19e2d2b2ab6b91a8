"""Figures of a metric over the one or two numbers of the configuration that were varied: lines, or heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from metaexp.compare.comparison import RowResult, Table
from metaexp.compare.output.colours import Look
from metaexp.compare.output.figure_data import FigureData, Series, make_point
from metaexp.compare.rows import ABSENT, format_yaml_value, is_of_task, settings
from metaexp.core.metric import format_metric_name, is_hit_rate
from metaexp.results.display.names import format_label
from metaexp.results.figures.style import FEWEST_POINTS

_MOST_MAPS = 4
"""More heat maps than this are not drawn."""


class _Line(NamedTuple):
    """Rows that differ in the varied numbers alone.

    Attributes:
        label: The algorithm, with the other settings in which its rows differ.
        rows: The values of the varied keys -> the row.
    """

    label: str
    rows: dict[tuple[float, ...], RowResult]


def over_settings(table: Table, looks: Mapping[str, Look], name: str) -> list[FigureData]:
    """Return a figure of lines over the varied number, or heat maps over two; empty where rows differ otherwise.

    Args:
        table: The table of a task.
        looks: Label of a row -> its look.
        name: The name of the file.
    """
    leaves = {row.label: settings(row.runs[0].record) for row in table.rows}
    keys = [item.key for item in table.differences if "." in item.key and not is_of_task(item.key)]
    numbers = [key for key in keys if _is_varied(key, table.rows, leaves)]
    lines = _lines(table.rows, leaves, numbers, [key for key in keys if key not in numbers])
    if len(numbers) == 1:
        return _over_one(table, lines, looks, numbers[0], name)
    return _over_two(table, lines, (numbers[0], numbers[1]), name) if len(numbers) == 2 else []


def _is_varied(key: str, rows: Sequence[RowResult], leaves: Mapping[str, Mapping[str, object]]) -> bool:
    """Whether a key is a number that has several values in the rows of one algorithm."""
    found: dict[str, set[object]] = {}
    for row in rows:
        value = leaves[row.label].get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            return False
        if value is not None:
            found.setdefault(row.runs[0].record.algorithm, set()).add(value)
    return key not in {pooled for row in rows for pooled in row.pooled} and any(
        len(each) > 1 for each in found.values()
    )


def _lines(
    rows: Sequence[RowResult], leaves: Mapping[str, Mapping[str, object]], numbers: Sequence[str], rest: Sequence[str]
) -> list[_Line]:
    """Rows by what they share. Rows of one algorithm that no key tells apart are left out."""
    found: dict[tuple[str, ...], _Line] = {}
    for row in rows:
        leaf, algorithm = leaves[row.label], row.runs[0].record.algorithm
        peers = [leaves[other.label] for other in rows if other.runs[0].record.algorithm == algorithm]
        apart = [key for key in rest if len({format_yaml_value(peer.get(key, ABSENT)) for peer in peers}) > 1]
        own = [f"{key.removeprefix('algorithm.')}={format_yaml_value(leaf.get(key, ABSENT))}" for key in apart]
        values = [leaf.get(key) for key in numbers]
        place = tuple(float(value) for value in values if isinstance(value, int | float))
        label = format_label(" ".join([algorithm, *own]), algorithm, row.runs[0].record.config)
        line = found.setdefault((algorithm, *own), _Line(label, {}))
        if len(place) == len(numbers) and place not in line.rows:
            line.rows[place] = row
    return list(found.values())


def _over_one(table: Table, lines: Sequence[_Line], looks: Mapping[str, Look], key: str, name: str) -> list[FigureData]:
    series = []
    for line in lines:
        points = [make_point(x, row.estimate) for (x,), row in sorted(line.rows.items())]
        drawn = [point for point in points if point is not None]
        if len(drawn) >= FEWEST_POINTS:
            first = min((row.label for row in line.rows.values()), key=lambda label: looks[label].variant)
            series.append(Series(line.label, looks[first], drawn, []))
    if not series:
        return []
    values = sorted({point.x for one in series for point in one.points})
    return [
        FigureData(
            name, f"{table.title}: {key}", "lines", series, key, f"test {format_metric_name(table.metric)}",
            is_hit_rate(table.metric), "95 % intervals.", values=tuple(values),
        )
    ]  # fmt: skip


def _over_two(table: Table, lines: Sequence[_Line], keys: tuple[str, str], name: str) -> list[FigureData]:
    maps = [line for line in lines if all(len({place[i] for place in line.rows}) > 1 for i in (0, 1))]
    unit, figures = " (%)" if is_hit_rate(table.metric) else "", []
    for number, line in enumerate(maps[:_MOST_MAPS]):
        columns, heights = (sorted({place[i] for place in line.rows}) for i in (0, 1))
        series = []
        for y in reversed(heights):
            points = [make_point(x, line.rows[x, y].estimate) for x in columns if (x, y) in line.rows]
            series.append(Series(f"{y:g}", Look(0), [point for point in points if point is not None], []))
        end = f"_map{number + 1}" if len(maps) > 1 else ""
        figures.append(
            FigureData(
                f"{name}{end}", f"{table.title}: {line.label}", "cells", series, keys[0], keys[1],
                is_hit_rate(table.metric), f"Test {format_metric_name(table.metric)}{unit} of each setting.",
                values=tuple(columns),
            )
        )  # fmt: skip
    return figures
