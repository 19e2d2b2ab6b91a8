"""Programs of made-up characters: which pen strokes, how large, and where each touches the others.

A program is composed as people compose characters (the idea of Lake, Salakhutdinov & Tenenbaum, "Human-level
concept learning through probabilistic program induction", Science 2015; strokes and relations here are our own):
a first stroke, then up to four more, each attached to a place along an earlier one, or standing beside or inside
what is there.

Programs are numbered. Program j of a seed is a function of (seed, j) alone, and so is the split it belongs to.
It is skipped when it is a poor character (too thin, too crowded, strokes on top of each other) or when any
earlier fair one looks nearly the same; no two classes are twins therefore, least of all in different splits.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple

import torch
from torch import Tensor

from metaexp.core.addressing import episode_keys, integers, subkeys
from metaexp.core.shapes import SPLITS, Split
from metaexp.data.glyph.shapes import KNOTS, shapes
from metaexp.data.regression.device_exact_math import normal, uniform

MAX_STROKES: Final = 5
_SPLIT: Final = MAX_STROKES
_COUNT: Final = MAX_STROKES + 1
DRAWINGS: Final = MAX_STROKES + 2
"""Streams of a program's key; those below are the strokes'."""
_N_STROKES: Final = (7, 21, 34, 24, 14)
"""Frequencies of 1, 2, ... strokes before poor characters are skipped, which are often those of many strokes."""
_SHARES: Final[dict[Split, int]] = {"train": 10, "val": 2, "test": 4}
"""How many of 16 programs go to each split."""
_BLOCK: Final = 1024
"""Programs composed at once."""
_COARSE: Final = 4
"""Composition and judgement look at every 4th point of a stroke."""

_SIZES: Final = ((4, 4), (4, 4), (3, 4), (2, 4), (4, 3), (4, 2))
_LATER_SIZES: Final = ((4, 4), (2, 2), (2, 2), (3, 3), (2, 3), (3, 2), (1, 2), (2, 1), (4, 2), (2, 4))
"""Widths and heights of a stroke, in quarters of the box."""
_JOINTS: Final = (0, 0, 1, 2, 2, 3, 4, 4)
"""Places along an earlier stroke at which a later one is attached, in quarters of its length."""
_OWN_JOINTS: Final = (0, 0, 2, 4, 4)
"""The place of the later stroke that is put there."""
_ATTACHED: Final = 82
"""How many of 100 later strokes are attached, rather than beside or inside."""
_STYLE: Final = 0.07
"""Standard deviation by which a class's knots differ from those of the stroke's shape; the box is [-1, 1]."""

_THINNEST: Final = 0.4
_SHORTEST_STROKE: Final = 0.12
_TOTAL_LENGTH: Final = (3.0, 12.0)
_CLOSE: Final = 0.16
_MOST_CLOSE: Final = 7
"""A stroke is hidden when more than this many of 17 places along it are so close to other strokes."""
_GRID: Final = 10
_TWINS: Final = 1100.0
"""Squared distance between thumbnails below which two characters look nearly the same."""


class Programs(NamedTuple):
    """Stroke programs of B characters.

    Attributes:
        knots: (B, MAX_STROKES, KNOTS, 2) float32, x to the right and y downwards; the character fills [-1, 1].
        shape: (B, MAX_STROKES) int64, rows of the :class:`Inventory`.
        n_strokes: (B,) int64; later rows are unused.
        keys: (B,) int64, the words that the programs were made from; stream DRAWINGS of each is free for its drawings.
    """

    knots: Tensor
    shape: Tensor
    n_strokes: Tensor
    keys: Tensor

    def take(self, rows: Tensor) -> Programs:
        """Return the programs at ``rows`` (R,) int64."""
        return Programs(*(tensor[rows] for tensor in self))

    def used(self) -> Tensor:
        """Return which strokes are part of the character: (B, MAX_STROKES) bool."""
        return torch.arange(MAX_STROKES) < self.n_strokes[:, None]


class Inventory(NamedTuple):
    """The shapes of strokes as tensors, by row.

    Attributes:
        knots: (n_shapes, KNOTS, 2).
        positions: (n_shapes, KNOTS).
        weights: (n_shapes, POINTS, KNOTS) float32, whole multiples of 2**-14.
        first: (n_shapes,) running totals of how often shapes are first strokes.
        later: (n_shapes,) running totals of how often they are later strokes.
    """

    knots: Tensor
    positions: Tensor
    weights: Tensor
    first: Tensor
    later: Tensor

    @classmethod
    @cache
    def make(cls) -> Inventory:
        """Return the inventory of :mod:`metaexp.data.glyph.shapes`, which is made once in a process."""
        found = shapes()
        return cls(
            torch.tensor([shape.knots for shape in found]),
            torch.tensor([shape.positions for shape in found]),
            (torch.tensor([shape.weights for shape in found]) * 16384.0).round() * 2.0**-14,
            torch.tensor([shape.first for shape in found]).cumsum(0),
            torch.tensor([shape.later for shape in found]).cumsum(0),
        )


def curve_points(knots: Tensor, weights: Tensor) -> Tensor:
    """The points (..., P, 2) of strokes with ``knots`` (..., KNOTS, 2) and spline ``weights`` (..., P, KNOTS).

    Knots are rounded to 2**-16, and weights already are whole multiples of 2**-14, so that every product and sum
    in the matrix product is exact in float64, in whichever order a machine takes them.

    Args:
        knots: Knots of the strokes (..., KNOTS, 2).
        weights: Spline weights (..., P, KNOTS).
    """
    points = weights.to(torch.float64) @ (knots * 65536.0).round().to(torch.float64)
    return (points * 2.0**-16).to(torch.float32)


def choose_programs(seed: int, wanted: Mapping[Split, int]) -> dict[Split, Programs]:
    """The first ``wanted`` fair programs of every split.

    Asking for more classes in a split keeps those that were there, and changes no other split.

    Args:
        seed: Another seed gives other characters.
        wanted: Programs of each split.
    """
    inventory = Inventory.make()
    thumbnails: list[Tensor] = []
    found: dict[Split, list[Programs]] = {split: [] for split in SPLITS}
    start = 0
    while any(sum(len(part.shape) for part in found[split]) < wanted[split] for split in SPLITS):
        keys = episode_keys(seed, "train", torch.arange(start, start + _BLOCK))
        programs, points = _compose(keys, inventory)
        fair = _is_fair(points, programs.used()).nonzero()[:, 0]
        programs, points = programs.take(fair), points[fair]
        thumbnails.append(_thumbnails(points, programs.used()))
        new = _is_new(thumbnails)
        place = integers(subkeys(programs.keys, _SPLIT, 1)[:, 0], sum(_SHARES.values()))
        low = 0
        for split, share in _SHARES.items():
            found[split].append(programs.take((new & (place >= low) & (place < low + share)).nonzero()[:, 0]))
            low += share
        start += _BLOCK
    return {split: _first(found[split], wanted[split]) for split in SPLITS}


def _first(parts: list[Programs], n: int) -> Programs:
    return Programs(*(torch.cat(tensors)[:n] for tensors in zip(*parts, strict=True)))


def _compose(keys: Tensor, inventory: Inventory) -> tuple[Programs, Tensor]:
    """The programs of ``keys`` (B,), fair or not, scaled to the box, and points along them (B, MAX_STROKES, P, 2)."""
    counts = torch.tensor(_N_STROKES).cumsum(0)
    n_strokes = 1 + _pick(subkeys(keys, _COUNT, 1)[:, 0], counts)
    knots: list[Tensor] = []
    shape: list[Tensor] = []
    points: list[Tensor] = []
    for i in range(MAX_STROKES):
        words = subkeys(keys, i, 16 + 2 * KNOTS)
        shape.append(_pick(words[:, 0], inventory.later if i else inventory.first))
        sizes = torch.tensor(_LATER_SIZES if i else _SIZES)
        size = sizes[integers(words[:, 1], len(sizes))].to(torch.float32) * 0.25  # (B, 2)
        placed = inventory.knots[shape[i]] + _STYLE * normal(words[:, 16:]).view(-1, KNOTS, 2)
        placed = placed * (size * uniform(words[:, 2:4], 0.9, 1.1))[:, None]
        weights = inventory.weights[shape[i], ::_COARSE]
        if i:
            move = _place(words[:, 4:16], curve_points(placed, weights), torch.stack(points, dim=1))
            placed = placed + move[:, None]
        knots.append(placed)
        points.append(curve_points(placed, weights))
    programs = Programs(torch.stack(knots, dim=1), torch.stack(shape, dim=1), n_strokes, keys)
    return _fit_to_box(programs, torch.stack(points, dim=1))


def _pick(words: Tensor, cumulative: Tensor) -> Tensor:
    """One row (B,) from each of ``words`` (B,), with frequencies given by their running total."""
    return torch.searchsorted(cumulative, integers(words, int(cumulative[-1])), right=True)


def _place(words: Tensor, stroke: Tensor, earlier: Tensor) -> Tensor:
    """Where to move a ``stroke`` (B, P, 2), given the ``earlier`` ones (B, i, P, 2): (B, 2)."""
    attached = _attached(words[:, :3], stroke, earlier)
    beside = _beside(words[:, 3:6], stroke, earlier.flatten(1, 2))
    return torch.where((integers(words[:, 6], 100) < _ATTACHED)[:, None], attached, beside)


def _attached(words: Tensor, stroke: Tensor, earlier: Tensor) -> Tensor:
    """The move (B, 2) that puts a place of ``stroke`` onto a place of an earlier one, half the time the last one."""
    rows, n, last = torch.arange(len(words)), earlier.shape[1], stroke.shape[1] - 1
    parent = (n - 1) - (integers(words[:, 0], 2 * n) - n).clamp(min=0)
    joint = torch.tensor(_JOINTS)[integers(words[:, 1], len(_JOINTS))] * last // 4
    own = torch.tensor(_OWN_JOINTS)[integers(words[:, 2], len(_OWN_JOINTS))] * last // 4
    return earlier[rows, parent, joint] - stroke[rows, own]


def _beside(words: Tensor, stroke: Tensor, drawn: Tensor) -> Tensor:
    """The move (B, 2) that puts ``stroke`` right, left, below or above of what is ``drawn`` (B, P', 2).

    It comes to the middle or flush with an edge; or into the middle of what is drawn.
    """
    low, high = drawn.amin(1), drawn.amax(1)
    own_low, own_high = stroke.amin(1), stroke.amax(1)
    side = integers(words[:, 0], 5)
    gap = uniform(words[:, 1], 0.25, 0.45)
    flush = (integers(words[:, 2], 3) - 1).to(torch.float32)[:, None]
    middle = (low + high) * 0.5 - (own_low + own_high) * 0.5
    aligned = middle + flush * ((high - low) - (own_high - own_low)) * 0.5
    after, before = high + gap[:, None] - own_low, low - gap[:, None] - own_high  # (B, 2)
    x = torch.where(side == 0, after[:, 0], torch.where(side == 1, before[:, 0], aligned[:, 0]))
    y = torch.where(side == 2, after[:, 1], torch.where(side == 3, before[:, 1], aligned[:, 1]))
    return torch.where((side == 4)[:, None], middle, torch.stack([x, y], dim=1))


def _fit_to_box(programs: Programs, points: Tensor) -> tuple[Programs, Tensor]:
    """Centre the character, and scale it so that its longer side is the box's."""
    low, high = _extent(points, programs.used())
    scale = (2.0 / (high - low).amax(1))[:, None, None, None]
    middle = ((low + high) * 0.5)[:, None, None]
    return programs._replace(knots=(programs.knots - middle) * scale), (points - middle) * scale


def _extent(points: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest and the highest coordinates (B, 2) of ``points`` (B, MAX_STROKES, P, 2) of used strokes."""
    unused = ~used[:, :, None, None]
    low = points.masked_fill(unused, torch.inf).amin((1, 2))
    return low, points.masked_fill(unused, -torch.inf).amax((1, 2))


def _is_fair(points: Tensor, used: Tensor) -> Tensor:
    """Whether characters (B,) are neither too thin nor too crowded, and none of their strokes hides another."""
    low, high = _extent(points, used)
    steps = (points[:, :, 1:] - points[:, :, :-1]).abs().amax(-1)  # (B, MAX_STROKES, P - 1)
    lengths = (steps * 65536.0).to(torch.int64).sum(-1)  # whole numbers: the order of the sum does not matter
    total = (lengths * used).sum(1)
    least, most = (int(65536 * bound) for bound in _TOTAL_LENGTH)
    fair = ((high - low).amin(1) >= _THINNEST) & (total >= least) & (total <= most)
    fair &= ~(used & (lengths < int(65536 * _SHORTEST_STROKE))).any(1)
    rows = fair.nonzero()[:, 0]
    places, used = points[rows, :, ::2], used[rows]  # (R, MAX_STROKES, 17, 2)
    hidden = torch.zeros(len(rows), dtype=torch.bool)
    for i in range(MAX_STROKES):
        others = places.roll(-i, 1)[:, 1:].masked_fill(~used.roll(-i, 1)[:, 1:, None, None], torch.inf).flatten(1, 2)
        gaps = (places[:, i, :, None] - others[:, None]).abs().amax(-1).amin(-1)  # (R, 17)
        hidden |= used[:, i] & ((gaps < _CLOSE).sum(-1) > _MOST_CLOSE)
    fair[rows] = ~hidden
    return fair


def _thumbnails(points: Tensor, used: Tensor) -> Tensor:
    """How far the nearest ink is from each place of a grid over the box: (B, _GRID ** 2) float64, whole numbers."""
    points = points.masked_fill(~used[:, :, None, None], 100.0).flatten(1, 2)
    axis = (torch.arange(_GRID).to(torch.float32) - (_GRID - 1) / 2) * 0.25
    y, x = axis.repeat_interleave(_GRID), axis.repeat(_GRID)
    nearest = torch.full((len(points), _GRID * _GRID), 100.0)
    for p in range(points.shape[1]):
        dx, dy = points[:, p, :1] - x, points[:, p, 1:] - y
        nearest = torch.minimum(nearest, dx * dx + dy * dy)
    return (nearest * 64.0).clamp(max=16.0).floor().to(torch.float64)


def _is_new(thumbnails: list[Tensor]) -> Tensor:
    """Whether each of the last block (B, _GRID ** 2) looks unlike all before it, in its block and in earlier ones.

    Products and sums of small whole numbers are exact in any order, so a matrix product is safe here.
    """
    block = thumbnails[-1]
    squares = (block * block).sum(1)
    twin = torch.zeros(len(block), dtype=torch.bool)
    for earlier in thumbnails:
        distances = squares[:, None] + (earlier * earlier).sum(1) - 2.0 * block @ earlier.T
        close = distances < _TWINS
        twin |= (close.tril(-1) if earlier is block else close).any(1)
    return ~twin
