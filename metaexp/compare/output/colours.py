"""One colour for each algorithm, the same in every figure of every comparison."""

from __future__ import annotations

from collections.abc import Sequence

from metaexp.compare.comparison import RowResult
from metaexp.results.display_names import ALGORITHMS
from metaexp.results.figures.style import CYCLE

PALETTE = (*CYCLE, "#7A4B2A", "#332288", "#999933", "#4D4D4D", "#AA4466", "#117777")
"""Colours by the index of a series. The first six are those of all figures."""


def colours_of(rows: Sequence[RowResult]) -> dict[str, int]:
    """Return label -> index of the colour, the dash and the mark.

    A shipped algorithm has the colour of its own in every comparison. Further rows of the same algorithm, and
    algorithms of the user's own, get those that are left, in alphabetical order.

    Args:
        rows: All rows of a comparison.
    """
    known = list(ALGORITHMS)
    algorithms = {row.label: row.runs[0].record.algorithm for row in rows}
    found: dict[str, int] = {}
    taken: set[int] = set()
    for label in sorted(algorithms):
        name = algorithms[label]
        if name in known and known.index(name) not in taken:
            found[label] = known.index(name)
            taken.add(found[label])
    free = iter(index for index in range(len(algorithms) + len(known)) if index not in taken)
    for label in sorted(algorithms):
        if label not in found:
            found[label] = next(free)
    return {label: found[label] for label in sorted(algorithms)}
