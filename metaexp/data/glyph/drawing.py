"""Drawings of glyph programs by hands that are never twice the same.

Every drawing has a drawer of its own: slant, rotation, size, place and pen width. Within a drawing each stroke is
moved, stretched and bent a little, and each of its knots is off by a little more.

The ink is computed with integers, from the distance of every pixel to the path of the pen: no machine rounds it
in another way.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final, NamedTuple

import torch
from torch import Tensor

from metaexp.core.addressing import integers, subkeys
from metaexp.core.shapes import SPLITS, Split
from metaexp.data.glyph.programs import (
    DRAWINGS,
    MAX_STROKES,
    Inventory,
    Programs,
    choose_programs,
    curve_points,
)
from metaexp.data.glyph.shapes import KNOTS
from metaexp.data.regression.device_exact_math import normal

SIDE: Final = 28
"""Height and width of an image."""
_HALF_BOX: Final = 9.5
"""Pixels from the middle of the image to the edge of the box that a program fills."""
_UNIT: Final = 32
"""Points are rounded to this fraction of a pixel; from here on all arithmetic is on integers."""
_MARGIN: Final = 3
"""Pixels around the image that take what is drawn outside it."""
_PENS: Final = 16
_THINNEST: Final = 0.55
_THICKEST: Final = 0.95
"""Radius of the pen in pixels. Ink ends half a pixel further, within 1.5 pixels."""
_FAR: Final = 5 * _UNIT**2
"""A squared distance without ink, and above all that are computed."""


_IMAGES_AT_ONCE: Final = 1000


class Hand(NamedTuple):
    """How drawings deviate from the program, as standard deviations. Lengths are in the program's box, [-1, 1].

    Attributes:
        slant: The tangent of the angle.
        rotation: The rotation, in radians.
        size: The relative size, of both sides together and of each.
        shift: The shift of the whole character.
        stroke_shift: The shift of each stroke.
        stroke_size: The relative size of each stroke.
        bend: The shift of the ends and of the middle of a stroke.
        wobble: The shift of each knot.
    """

    slant: float
    rotation: float
    size: float
    shift: float
    stroke_shift: float
    stroke_size: float
    bend: float
    wobble: float


_PEN: Final = MAX_STROKES
_WHOLE: Final = MAX_STROKES + 1
"""Streams of a drawing's key; those below are the strokes'."""

HAND: Final = Hand(
    slant=0.16,
    rotation=0.08,
    size=0.09,
    shift=0.1,
    stroke_shift=0.06,
    stroke_size=0.08,
    bend=0.07,
    wobble=0.03,
)
"""Chosen so that nearest neighbour on pixels is right about 57 times of 100 in 5-way 1-shot tasks."""


def draw_classes(seed: int, n_classes: Mapping[Split, int], per_class: int) -> Tensor:
    """Return images (C * per_class, 1, SIDE, SIDE) uint8 of all C classes, ordered by split, class and drawing.

    A few threads share the classes, and each computes alone. Torch's own threads would wait for each other after
    each of many small operations, which on a busy machine takes minutes.

    Args:
        seed: The seed of the programs and of the drawings.
        n_classes: How many classes each split has.
        per_class: How many drawings of each class.
    """
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 8), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            chosen = pool.submit(choose_programs, seed, n_classes).result()
            programs = Programs(*(torch.cat(parts) for parts in zip(*(chosen[s] for s in SPLITS), strict=True)))
            inventory = Inventory.make()

            def drawings(rows: Tensor) -> Tensor:
                some = programs.take(rows)
                return draw(some, inventory, subkeys(some.keys, DRAWINGS, per_class))

            blocks = torch.split(torch.arange(len(programs.keys)), max(_IMAGES_AT_ONCE // per_class, 1))
            return torch.cat(list(pool.map(drawings, blocks))).flatten(0, 1).unsqueeze(1)
    finally:
        torch.set_num_threads(before)


def draw(programs: Programs, inventory: Inventory, keys: Tensor) -> Tensor:
    """Draw ``n`` drawings of each of B programs.

    Args:
        programs: The characters.
        inventory: The shapes of their strokes.
        keys: (B, n), one word for each drawing.

    Returns:
        (B, n, SIDE, SIDE) uint8, ink 255 on 0.
    """
    knots = _place(_vary(programs.knots, inventory.positions[programs.shape], keys), keys)
    distance = _squared_distance(knots, programs, inventory.weights)
    pens = integers(subkeys(keys, _PEN, 1)[..., 0], _PENS)
    table = _pen_table()
    ink: Tensor = table.view(-1)[distance + (pens * table.shape[1]).view(*keys.shape, 1, 1)]
    return ink


def _vary(knots: Tensor, positions: Tensor, keys: Tensor) -> Tensor:
    """``knots`` (B, MAX_STROKES, KNOTS, 2) as drawn stroke by stroke: (B, n, MAX_STROKES, KNOTS, 2).

    positions: (B, MAX_STROKES, KNOTS), how far along its stroke each knot is. keys: (B, n).
    """
    noise = normal(torch.stack([subkeys(keys, i, 10 + 2 * KNOTS) for i in range(MAX_STROKES)], dim=2))
    knots = knots[:, None]
    middle = (knots.amin(-2, keepdim=True) + knots.amax(-2, keepdim=True)) * 0.5
    size = HAND.stroke_size * noise[..., None, 0:2] + 1.0
    shift = HAND.stroke_shift * noise[..., None, 2:4]
    start, centre, end = (HAND.bend * noise[..., None, i : i + 2] for i in (4, 6, 8))
    t = positions[:, None, ..., None]
    bend = start * ((1.0 - t) * (1.0 - t)) + centre * (2.0 * t * (1.0 - t)) + end * (t * t)
    wobble = HAND.wobble * noise[..., 10:].view(*noise.shape[:-1], KNOTS, 2)
    return middle + (knots - middle) * size + shift + bend + wobble


def _place(knots: Tensor, keys: Tensor) -> Tensor:
    """``knots`` (B, n, MAX_STROKES, KNOTS, 2) as each drawer places them, in pixels from the corner of the image."""
    noise = normal(subkeys(keys, _WHOLE, 7))[..., None, None, :]  # (B, n, 1, 1, 7)
    half = (0.5 * HAND.rotation) * noise[..., 0]  # a rotation by 2 atan(half), without a sine
    norm = 1.0 + half * half
    cosine, sine = (1.0 - half * half) / norm, 2.0 * half / norm
    size = HAND.size * noise[..., 1] + 1.0
    x = knots[..., 0] * (size * (HAND.size * noise[..., 2] + 1.0))
    y = knots[..., 1] * (size * (HAND.size * noise[..., 3] + 1.0))
    x = x - HAND.slant * noise[..., 4] * y
    turned = torch.stack([x * cosine - y * sine, x * sine + y * cosine], dim=-1)
    return (turned + HAND.shift * noise[..., 5:7]) * _HALF_BOX + SIDE / 2


def _squared_distance(knots: Tensor, programs: Programs, weights: Tensor) -> Tensor:
    """The squared distance from every pixel's centre to the nearest point of the pen's path, at most _FAR.

    The result is (B, n, SIDE, SIDE) int32, in units of (pixel / _UNIT) ** 2; knots are (B, n, MAX_STROKES, KNOTS,
    2) in pixels. Every point of the path visits the pixel that it lies in and the eight around it, beyond which no
    pen reaches, and a pixel keeps the smallest distance that it sees.
    """
    n_classes, n = knots.shape[:2]
    side = SIDE + 2 * _MARGIN
    canvas = torch.full((n_classes * n * side * side,), _FAR, dtype=torch.int32)
    corner = torch.arange(n_classes * n).view(n_classes, n) * (side * side)
    window = torch.tensor([-1, 0, 1])
    cls, stroke = programs.used().nonzero(as_tuple=True)
    spline = weights[programs.shape[cls, stroke]]
    stride = _strides(curve_points(programs.knots[cls, stroke], spline))
    for every in _STRIDES:
        rows = (stride == every).nonzero()[:, 0]
        points = curve_points(knots[cls[rows], :, stroke[rows]], spline[rows, None, ::every])  # (R, n, P, 2)
        fixed = (points * _UNIT).round().to(torch.int64)
        fixed = fixed.clamp((1 - _MARGIN) * _UNIT, (SIDE + _MARGIN - 1) * _UNIT - 1)
        cell = torch.div(fixed, _UNIT, rounding_mode="floor")
        offset = fixed - (cell * _UNIT + _UNIT // 2)
        gap = (offset[..., None] - window * _UNIT).square().to(torch.int32)  # (R, n, P, 2, 3)
        place = cell[..., None] + window + _MARGIN
        row = corner[cls[rows]][..., None, None] + place[..., 1, :] * side  # (R, n, P, 3)
        for i, j in itertools.product(range(len(window)), repeat=2):
            where = row[..., i] + place[..., 0, j]
            canvas.scatter_reduce_(0, where.view(-1), (gap[..., 1, i] + gap[..., 0, j]).view(-1), "amin")
    return canvas.view(n_classes, n, side, side)[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


_STRIDES: Final = (1, 2, 4)


def _strides(points: Tensor) -> Tensor:
    """Every how many points (R,) strokes with ``points`` (R, POINTS, 2) are followed.

    Steps are about a quarter of a pixel before the drawing is stretched.
    """
    step = (points[:, 1:] - points[:, :-1]).abs().amax((1, 2)) * _HALF_BOX
    return torch.where(step > 0.14, 1, torch.where(step > 0.07, 2, 4))


@cache
def _pen_table() -> Tensor:
    """The ink (_PENS, _FAR + 1) uint8 of each pen at each squared distance.

    All of it inside the pen's radius less half a pixel, none half a pixel outside, and a straight ramp between.
    """
    table = []
    for pen in range(_PENS):
        radius = _THINNEST + (_THICKEST - _THINNEST) * pen / (_PENS - 1)
        edge = int((radius + 0.5) * _UNIT * 256)
        roots = (math.isqrt(squared << 16) for squared in range(_FAR + 1))
        table.append([min(max((edge - root) * 255 // (_UNIT * 256), 0), 255) for root in roots])
    return torch.tensor(table, dtype=torch.uint8)
