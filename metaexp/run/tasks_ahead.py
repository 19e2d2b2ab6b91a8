"""Makes small training tasks for several steps together."""

from __future__ import annotations

import torch
from torch import Tensor

from metaexp.core.shapes import Split
from metaexp.core.types import Episode, map_tensors, select_tasks
from metaexp.data.base import SourceOver, TaskSource

_STEPS = 64
_MOST_BYTES = 1 << 20
"""The most bytes of tasks that are made together. Larger tasks take longer to make than to ask for."""


class TasksAhead(SourceOver):
    """The tasks of another source, which makes small ones for several training steps at once.

    The tasks are the same, for each depends on its address alone. Of sinusoids, 25 tasks take 0.7 ms to make and
    1,600 take 1.1 ms. For the CPU: whether tasks are the next ones is read from their numbers.

    Args:
        source: The source.
        n_tasks: How many tasks training asks for, from number 0. None after them is made.
        few: Training takes the first ones again and again, this many of them; None for new ones in every step.
    """

    def __init__(self, source: TaskSource, n_tasks: int, few: int | None = None) -> None:
        super().__init__(source)
        self._n_tasks = min(n_tasks, few or n_tasks)
        self._made: Episode | None = None
        self._start = self._end = 0
        self._steps = 1
        """Steps whose tasks are made together. The first step is made alone, to know how large its tasks are."""

    def episodes(self, split: Split, indices: Tensor) -> Episode:
        """Return the episodes at ``indices`` (T,), in memory of their own."""
        n_tasks = len(indices)
        if split != "train" or self.varies or n_tasks == 0:
            return self._source.episodes(split, indices)
        numbers = indices.tolist()
        first = numbers[0]
        if numbers != list(range(first, first + n_tasks)):
            return self._source.episodes(split, indices)
        if self._made is None or not self._start <= first <= self._end - n_tasks:
            self._start = first
            self._end = max(first + n_tasks, min(first + self._steps * n_tasks, self._n_tasks))
            made = self._source.episodes(split, torch.arange(self._start, self._end))
            self._steps = min(_STEPS, max(1, _MOST_BYTES * (self._end - self._start) // max(1, _bytes(made) * n_tasks)))
            self._made = made if self._steps > 1 else None
            if self._made is None:
                return select_tasks(made, 0, n_tasks)
        start = first - self._start
        # Every step gets copies, which begin where memory is aligned and have no gaps: sums can depend on both in their
        # last digits, and a run that is resumed makes other steps together.
        copied: Episode = map_tensors(lambda made: made[start : start + n_tasks].clone(), self._made)
        return copied


def _bytes(episodes: Episode) -> int:
    parts = (episodes.support.x, episodes.support.y, episodes.query.x, episodes.query.y)
    return sum(part.nbytes for part in parts)
