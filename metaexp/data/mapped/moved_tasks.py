"""Tasks that are made on one device and moved to another."""

from __future__ import annotations

import torch
from torch import Tensor

from metaexp.core.shapes import Split
from metaexp.core.types import Episode, map_tensors
from metaexp.data.base import SourceOver, TaskSource


def moved(source: TaskSource, made_on: torch.device, device: torch.device) -> TaskSource:
    """Return the tasks of a source on ``device``: the source itself if it makes them there.

    Args:
        source: The tasks.
        made_on: Where the source makes them.
        device: Where they are needed.
    """
    return source if made_on == device else _MovedTasks(source, made_on, device)


class _MovedTasks(SourceOver):
    def __init__(self, source: TaskSource, made_on: torch.device, device: torch.device) -> None:
        super().__init__(source)
        self._made_on = made_on
        self._device = device

    def episodes(self, split: Split, indices: Tensor) -> Episode:
        """Return the episodes at ``indices`` (T,) int64, on any device."""
        made = self._source.episodes(split, indices.to(self._made_on))
        there: Episode = map_tensors(lambda tensor: tensor.to(self._device), made)
        return there
