"""One colour for each algorithm, the same in every figure of every comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from metaexp.compare.comparison import RowResult
from metaexp.results.display.names import ALGORITHMS
from metaexp.results.figures.style import CYCLE

PALETTE = (*CYCLE, "#7A4B2A", "#332288", "#999933", "#4D4D4D", "#AA4466", "#117777")
"""Colours by the index of a series. The first six are those of all figures."""


class Look(NamedTuple):
    """How a row is drawn.

    Attributes:
        colour: The index of its colour.
        variant: Which of the rows of that colour it is; they differ in mark and dash.
    """

    colour: int
    variant: int = 0


_MOST_VARIANTS = 4
"""More rows than this cannot be told apart by their dashes."""


def looks_of(rows: Sequence[RowResult]) -> dict[str, Look]:
    """Return the look of each row by its label.

    A shipped algorithm has the colour of its own in every comparison, and its rows share it. Algorithms of the user's
    own get the colours that are left, in alphabetical order. Where there is one algorithm only, or one with many rows,
    its further rows get colours that are left, too.

    Args:
        rows: All rows of a comparison.
    """
    known = list(ALGORITHMS)
    algorithms = {row.label: row.runs[0].record.algorithm for row in rows}
    members: dict[str, list[str]] = {}
    for label in sorted(algorithms):
        members.setdefault(algorithms[label], []).append(label)
    free = iter(index for index in range(len(algorithms) + len(known)) if index not in _taken(members, known))
    found: dict[str, Look] = {}
    for name, labels in members.items():
        shared = len(labels) <= _MOST_VARIANTS and len(members) > 1
        own = known.index(name) if name in known else next(free)
        for place, label in enumerate(labels):
            found[label] = Look(own, place) if shared or place == 0 else Look(next(free))
    return found


def _taken(algorithms: Iterable[str], known: Sequence[str]) -> set[int]:
    return {known.index(name) for name in algorithms if name in known}
