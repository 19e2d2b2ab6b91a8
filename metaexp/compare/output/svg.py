"""The figures of a comparison as SVG for the page: drawn in its colours, and every mark can be pointed at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from metaexp.compare.output.escape import for_html, plain
from metaexp.compare.output.figures import Figure, Point, Series
from metaexp.compare.output.wording import MINUS

WIDTH = 480
"""Of every figure, in its own units: it reads well at 1.2 times on a desk and at 0.75 on a phone."""
_COLOURS = 6
_CHARACTER = 6.9
"""Mean width of a character of the labels."""


class Scale(NamedTuple):
    """From values to places, with round values to mark."""

    low: float
    high: float
    start: float
    end: float
    ticks: list[float]

    def at(self, value: float) -> float:
        """The place of ``value``."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def draw(figure: Figure) -> str:
    """The ``<svg>`` element."""
    body, height = _dots(figure) if figure.kind == "dots" else _lines(figure)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{for_html(figure.title)}" '
        f'preserveAspectRatio="xMidYMin meet">{body}</svg>'
    )


def ticks(low: float, high: float, most: int, whole: bool = False) -> list[float]:
    """At most ``most`` + 1 round values that cover [low, high]."""
    span = high - low
    raw = max(span / most, 1.0 if whole else 0.0, 1e-12)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(
        s * power
        for s in (1.0, 2.0, 2.5, 5.0, 10.0)
        if s * power >= raw * 0.999 and not (whole and s == 2.5 and power < 10)
    )
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def scale(values: Sequence[float], start: float, end: float, most: int, padded: float = 0.04) -> Scale:
    """A scale that holds ``values`` with a little room."""
    low, high = min(values), max(values)
    room = (high - low) * padded or abs(high) * 0.05 or 0.05
    marks = ticks(low - room, high + room, most)
    return Scale(marks[0], marks[-1], start, end, marks)


def say_tick(value: float, step: float) -> str:
    """A mark with the digits that its neighbours need."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step < 1 else 0
    if digits == 0 and step < 10 and abs(step - round(step)) > 1e-9:
        digits = 1
    if 0 < step < 1 and abs(step * 10**digits - round(step * 10**digits)) > 1e-9:
        digits += 1
    text = f"{abs(value):,.{digits}f}"
    return f"{MINUS}{text}" if value < -1e-12 and float(text.replace(",", "")) else text


def _dots(figure: Figure) -> tuple[str, float]:
    factor = 100.0 if figure.percent else 1.0
    wanted = max(len(plain(series.label)) for series in figure.series) * _CHARACTER
    left, top, row = min(max(wanted + 14, 60.0), 190.0), 8.0, 40.0
    bottom = top + row * len(figure.series)
    values = [v * factor for s in figure.series for p in s.points for v in (p.low, p.high)]
    values += [value * factor for s in figure.series for value, _ in s.dots] + ([0.0] if figure.zero else [])
    across = scale(values, left, WIDTH - 16.0, 5)
    parts = [_grid_x(across, top, bottom)]
    if figure.zero:
        parts.append(f'<line class="zero" x1="{across.at(0):.1f}" x2="{across.at(0):.1f}" y1="{top}" y2="{bottom}"/>')
    for place, series in enumerate(figure.series):
        y = top + row * (place + 0.5)
        label = _clipped(series.label, left - 14)
        parts.append(f'<text class="name" x="{left - 10:.1f}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
        parts.append(_interval(series, across, y, factor))
    unit = " (%)" if figure.percent and not figure.zero else ""
    parts.append(_axis_label((left + WIDTH - 16) / 2, bottom + 38, figure.x_label + unit))
    return "".join(parts), bottom + 48


def _interval(series: Series, across: Scale, y: float, factor: float) -> str:
    (point,) = series.points
    low, mean, high = (across.at(v * factor) for v in (point.low, point.mean, point.high))
    seeds = []
    for value, tip in series.dots:
        x = across.at(value * factor)
        line = f'<line class="seed" x1="{x:.1f}" x2="{x:.1f}" y1="{y + 7:.1f}" y2="{y + 14:.1f}"/>'
        seeds.append(f'<g data-tip="{for_html(tip)}">{line}</g>')
    return (
        f'<g class="{_class(series)}">{"".join(seeds)}<g tabindex="0" class="mark" data-tip="{for_html(point.tip)}">'
        f'<rect class="hit" x="{low - 8:.1f}" y="{y - 13:.1f}" width="{high - low + 16:.1f}" height="24"/>'
        f'<line class="bar" x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f"{_marker(series.colour, mean, y, 5.2)}</g></g>"
    )


def _lines(figure: Figure) -> tuple[str, float]:
    factor = 100.0 if figure.percent else 1.0
    points = [point for series in figure.series for point in series.points]
    y_values = [v * factor for p in points for v in (p.low, p.high)]
    top, bottom = 10.0, 246.0
    up = scale(y_values, bottom, top, 5, 0.02)
    step = up.ticks[1] - up.ticks[0]
    left = 34.0 + _CHARACTER * max(len(say_tick(tick, step)) for tick in up.ticks)
    low, high = min(p.x for p in points), max(p.x for p in points)
    marks = [t for t in ticks(low, high, 6, whole=True) if low <= t <= high] if high > low else [low]
    across = Scale(low, high if high > low else low + 1, left + 6, WIDTH - 18.0, marks)
    parts = [_grid_x(across, top, bottom, False), _grid_y(up, left, WIDTH - 12.0)]
    parts += [_band(series, across, up, factor) for series in figure.series]
    parts += [_line(series, across, up, factor) for series in figure.series]
    parts.append(_axis_label((left + WIDTH - 12) / 2, bottom + 38, figure.x_label))
    label = for_html(figure.y_label + (" (%)" if figure.percent else ""))
    turned = f'transform="translate(14 {(top + bottom) / 2:.0f}) rotate(-90)"'
    parts.append(f'<text class="label" {turned} text-anchor="middle">{label}</text>')
    legend, end = _legend(figure.series, left, bottom + 58)
    return "".join([*parts, legend]), end


def _band(series: Series, across: Scale, up: Scale, factor: float) -> str:
    there = [f"{across.at(p.x):.1f},{up.at(p.high * factor):.1f}" for p in series.points]
    back = [f"{across.at(p.x):.1f},{up.at(p.low * factor):.1f}" for p in reversed(series.points)]
    return f'<polygon class="band {_class(series)}" points="{" ".join(there + back)}"/>'


def _line(series: Series, across: Scale, up: Scale, factor: float) -> str:
    places = [(across.at(p.x), up.at(p.mean * factor), p) for p in series.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    few = len(places) <= 30
    marks = "".join(_mark(series, x, y, point, few) for x, y, point in places)
    return f'<g class="{_class(series)}"><polyline class="line{_dash(series)}" points="{path}"/>{marks}</g>'


def _mark(series: Series, x: float, y: float, point: Point, few: bool) -> str:
    shown = _marker(series.colour, x, y, 3.8) if few else ""
    focus = ' tabindex="0"' if few else ""
    return (
        f'<g class="mark"{focus} data-tip="{for_html(point.tip)}"><circle class="hit" cx="{x:.1f}" cy="{y:.1f}" r="9"/>'
        f"{shown}</g>"
    )


def _marker(colour: int, x: float, y: float, r: float) -> str:
    """Shapes differ with colours, for those who do not see colours and for print."""
    shape = colour % 4
    if shape == 0:
        return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
    if shape == 1:
        side = f'width="{r * 1.8:.1f}" height="{r * 1.8:.1f}"'
        return f'<rect class="dot" x="{x - r * 0.9:.1f}" y="{y - r * 0.9:.1f}" {side}/>'
    corners = (
        [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)] if shape == 2 else [(0, -1.15), (1.15, 0.85), (-1.15, 0.85)]
    )
    return f'<polygon class="dot" points="{" ".join(f"{x + a * r:.1f},{y + b * r:.1f}" for a, b in corners)}"/>'


def _legend(series: Sequence[Series], left: float, y: float) -> tuple[str, float]:
    parts, x = [], left
    for item in series:
        width = 30 + min(len(plain(item.label)) * _CHARACTER, WIDTH - left - 40)
        if x > left and x + width > WIDTH - 8:
            x, y = left, y + 20
        ends = f'x1="{x:.1f}" x2="{x + 20:.1f}" y1="{y - 4:.1f}" y2="{y - 4:.1f}"'
        name = f'<text class="name" x="{x + 26:.1f}" y="{y:.1f}">{_clipped(item.label, WIDTH - left - 40)}</text>'
        line = f'<line class="line{_dash(item)}" {ends}/>{_marker(item.colour, x + 10, y - 4, 3.8)}'
        parts.append(f'<g class="{_class(item)}">{line}{name}</g>')
        x += width + 14
    return "".join(parts), y + 12


def _grid_x(across: Scale, top: float, bottom: float, lines: bool = True) -> str:
    step = across.ticks[1] - across.ticks[0] if len(across.ticks) > 1 else 1.0
    grid = (
        "".join(
            f'<line class="grid" x1="{across.at(t):.1f}" x2="{across.at(t):.1f}" y1="{top}" y2="{bottom}"/>'
            for t in across.ticks
        )
        if lines
        else ""
    )
    texts = ""
    for tick in across.ticks:
        place = f'x="{across.at(tick):.1f}" y="{bottom + 17:.1f}"'
        texts += f'<text class="tick" {place} text-anchor="middle">{say_tick(tick, step)}</text>'
    return grid + texts


def _grid_y(up: Scale, left: float, right: float) -> str:
    step = up.ticks[1] - up.ticks[0]
    return "".join(
        f'<line class="grid" x1="{left:.1f}" x2="{right:.1f}" y1="{up.at(t):.1f}" y2="{up.at(t):.1f}"/>'
        f'<text class="tick" x="{left - 6:.1f}" y="{up.at(t) + 4:.1f}" text-anchor="end">{say_tick(t, step)}</text>'
        for t in up.ticks
    )


def _axis_label(x: float, y: float, text: str) -> str:
    return f'<text class="label" x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{_clipped(text, WIDTH - 40)}</text>'


def _clipped(text: str, width: float) -> str:
    """``text`` escaped, cut where it would not fit."""
    most = max(int(width / _CHARACTER), 4)
    short = plain(text)
    return for_html(short if len(short) <= most else short[: most - 1] + "\N{HORIZONTAL ELLIPSIS}")


def _class(series: Series) -> str:
    return f"c{series.colour % _COLOURS}"


def _dash(series: Series) -> str:
    return f" dash{series.colour // _COLOURS % 3}" if series.colour >= _COLOURS else ""
