"""Who measures which chunk of the episodes of a test. An episode is computed with the same others in every way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from metaexp.machine.single_rank import SINGLE, Ranks

Rows = list[list[float]]
"""For each episode the metric after every step, further metrics, and answers."""
Measure = Callable[[int], Rows]
"""Takes the first episode of a chunk and returns the rows of the chunk; none beyond the last episode."""
Report = Callable[[int], None]
"""Takes the number of episodes done so far; may raise, to stop."""


class Chunks(Protocol):
    """Hands out the chunks of a test and collects their rows."""

    def rows(self, measure: Measure, chunk: int, n_episodes: int, report: Report) -> Rows:
        """Return the rows of all episodes, in order.

        Args:
            measure: Measures a chunk.
            chunk: How many episodes a chunk has.
            n_episodes: How many episodes there are.
            report: Called with the number of episodes done so far.
        """


class InTurn:
    """The ranks of a run measure one chunk each in every round.

    Args:
        ranks: The ranks.
    """

    def __init__(self, ranks: Ranks = SINGLE) -> None:
        self.ranks = ranks

    def rows(self, measure: Measure, chunk: int, n_episodes: int, report: Report) -> Rows:
        """See :meth:`Chunks.rows`."""
        found: Rows = []
        while len(found) < n_episodes:
            start = len(found) + self.ranks.rank * chunk
            for part in self.ranks.gather(partial(measure, min(start, n_episodes))):
                found += part
            report(len(found))
        return found
