"""The inventory of pen strokes from which glyphs are composed, and the curves through their knots.

A stroke is given by a few knots on a 9 x 9 grid, x to the right and y downwards. The pen follows a Catmull-Rom
spline through them (Catmull & Rom, 1974), broken at corners. A point of the curve is a fixed linear combination
of the knots, so a stroke can be bent by moving knots without computing a spline again.

Only additions, multiplications, divisions and square roots are used, which IEEE 754 rounds the same way on
every machine: the weights below, and with them all glyphs, are the same bits everywhere.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import Final, NamedTuple

KNOTS: Final = 10
"""Most knots of a stroke; shorter ones repeat their last knot with weight zero."""
POINTS: Final = 129
"""Points along a stroke, evenly spaced; every 2nd, 4th, ... of them include both ends."""

Point = tuple[float, float]


class Shape(NamedTuple):
    """A stroke in one orientation.

    Attributes:
        name: What it is called.
        knots: (KNOTS, 2) in [-1, 1].
        positions: (KNOTS,), how far along the stroke each knot is, from 0 to 1.
        weights: (POINTS, KNOTS), rows of sum one.
        first: How often it is taken as the first stroke of a glyph, relative to others.
        later: How often it is taken as a later stroke.
    """

    name: str
    knots: tuple[Point, ...]
    positions: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    first: int
    later: int


_STROKES: Final = (
    # name, knots as digits "xy" with "!" after a corner, frequency as first and as later stroke
    ("line", "40 44 48", 60, 150),
    ("slash", "08 44 80", 40, 70),
    ("bow", "20 42 54 46 28", 40, 80),
    ("wave", "05 23 44 65 83", 12, 20),
    ("angle", "10 14 18! 58 88", 50, 40),
    ("vee", "00 24 48! 64 80", 40, 30),
    ("hook", "60 63 66 48 17 05", 60, 50),
    ("cup", "00 04 17 48 77 84 80", 56, 40),
    ("crescent", "71 40 12 04 16 48 77", 56, 36),
    ("ess", "71 40 11 23 44 65 77 48 17", 40, 12),
    ("question", "02 20 50 72 54 46 48", 34, 10),
    ("zed", "00 40 80! 44 08! 48 88", 30, 6),
    ("zigzag", "08 04 00! 44 88! 84 80", 30, 5),
    ("bracket", "00 04 08! 48 88! 84 80", 30, 12),
    ("bolt", "50 32 14! 44 74! 56 38", 24, 5),
    ("seven", "00 40 80! 64 46 38", 34, 10),
    ("crown", "00 14 28! 42! 68! 74 80", 24, 2),
    ("ring", "40 11 04 17 48 77 84 71 40", 50, 30),
    ("triangle", "40 24 08! 48 88! 64 40", 24, 6),
    ("box", "00 04 08! 48 88! 84 80! 40 00", 24, 5),
    ("bowl", "00 04 08! 48 76 72 40 00", 34, 6),
    ("six", "60 32 15 27 48 67 75 54 25", 44, 8),
    ("loop", "06 35 62 50 31 34 47 77", 34, 8),
    ("ribbon", "80 63 37 06 02 31 65 88", 34, 5),
    ("fish", "81 44 16 04 12 44 87", 24, 4),
    ("eye", "04 44 83 60 30 03 16 48 87", 34, 3),
    ("three", "11 40 62 34! 65 67 48 07", 36, 4),
    ("arch", "00 04 08! 05 33 64 68", 44, 10),
    ("arches", "02 05 08! 24 42 48! 64 82 88", 24, 2),
    ("flag", "08 04 00! 40 62 44 04", 34, 5),
    ("spiral", "44 53 65 46 24 41 72 85 78", 24, 2),
    ("eight", "44 72 40 12 44 76 48 16 44", 20, 2),
    ("omega", "08 38 15 12 40 72 75 58 88", 24, 2),
    ("why", "00 03 34 63 60! 64 58 18", 34, 3),
    ("pod", "02 20 53 34 13 40 73 86 78", 22, 2),
    ("stair", "00 40! 44! 84! 88", 22, 4),
    ("hanger", "03 10 43 47 28 06", 24, 6),
    ("dot", "34 44 54", 0, 60),
)


@cache
def shapes() -> tuple[Shape, ...]:
    """Every stroke in each orientation that looks different, of the eight that flips and a transposition give.

    A stroke's frequency is shared by its orientations.
    """
    found = []
    for name, text, first, later in _STROKES:
        knots, corners = _read(text)
        weights = _weights(knots, corners)
        positions = tuple(min(k / (len(knots) - 1), 1.0) for k in range(KNOTS))
        variants: dict[tuple[Point, ...], tuple[Point, ...]] = {}
        for turn in range(8):
            turned = tuple(_turn(point, turn) for point in knots)
            variants.setdefault(min(turned, turned[::-1]), turned)
        for turned in variants.values():
            padded = turned + turned[-1:] * (KNOTS - len(turned))
            frequencies = (8 * first // len(variants), 8 * later // len(variants))
            found.append(Shape(name, padded, positions, weights, *frequencies))
    return tuple(found)


def _read(text: str) -> tuple[tuple[Point, ...], tuple[int, ...]]:
    """Knots in [-1, 1] and the places of corners among them."""
    words = text.split()
    knots = tuple((int(word[0]) / 4.0 - 1.0, int(word[1]) / 4.0 - 1.0) for word in words)
    return knots, tuple(i for i, word in enumerate(words) if word.endswith("!"))


def _turn(point: Point, turn: int) -> Point:
    """One of the eight symmetries of a square: bit 0 flips x, bit 1 flips y, bit 2 exchanges them first."""
    x, y = point if turn < 4 else (point[1], point[0])
    return (-x if turn & 1 else x) + 0.0, (-y if turn & 2 else y) + 0.0


def _weights(knots: tuple[Point, ...], corners: tuple[int, ...]) -> tuple[tuple[float, ...], ...]:
    """The weights (POINTS, KNOTS) that give evenly spaced points of the curve through ``knots``."""
    fine = 32
    rows = [_spline_row(len(knots), corners, step / fine) for step in range(fine * (len(knots) - 1) + 1)]
    curve = [_combine(row, knots) for row in rows]
    travelled = [0.0]
    for (x0, y0), (x1, y1) in pairwise(curve):
        travelled.append(travelled[-1] + math.sqrt((x1 - x0) * (x1 - x0) + (y1 - y0) * (y1 - y0)))
    chosen = []
    step = 0
    for i in range(POINTS):
        target = travelled[-1] * i / (POINTS - 1)
        while step < len(travelled) - 2 and travelled[step + 1] < target:
            step += 1
        part = (target - travelled[step]) / (travelled[step + 1] - travelled[step])
        row = [a + (b - a) * part for a, b in zip(rows[step], rows[step + 1], strict=True)]
        chosen.append(tuple(row) + (0.0,) * (KNOTS - len(row)))
    return tuple(chosen)


def _spline_row(n_knots: int, corners: tuple[int, ...], position: float) -> list[float]:
    """Weights (n_knots,) of the knots at ``position`` in [0, n_knots - 1]; whole positions are the knots."""
    left = min(int(position), n_knots - 2)
    t = position - left
    inner = [
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    ]
    row = [0.0] * n_knots
    for offset, weight in enumerate(inner, start=-1):
        row[min(max(left + offset, 0), n_knots - 1)] += weight if 0 <= left + offset < n_knots else 0.0
    # At an end or a corner the curve knows no further knot: reflect the inner one (2 p0 - p1) instead.
    if left == 0 or left in corners:
        if left > 0:
            row[left - 1] -= inner[0]
        row[left] += 2.0 * inner[0]
        row[left + 1] -= inner[0]
    if left + 1 == n_knots - 1 or left + 1 in corners:
        if left + 2 < n_knots:
            row[left + 2] -= inner[3]
        row[left + 1] += 2.0 * inner[3]
        row[left] -= inner[3]
    return row


def _combine(row: list[float], knots: tuple[Point, ...]) -> Point:
    x = y = 0.0
    for weight, (kx, ky) in zip(row, knots, strict=True):
        x, y = x + weight * kx, y + weight * ky
    return x, y
