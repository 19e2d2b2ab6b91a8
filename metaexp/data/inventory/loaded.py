"""A dataset in memory with the task shapes and seeds of a run, and so with exactly its episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from operator import index

import torch

from metaexp.core.counted import shortened
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import SPLITS, Capacity, Split, TaskShape
from metaexp.core.types import Episode
from metaexp.data.base import MetaDataset


class LoadedDataset:
    """A dataset in memory, whose episodes are addressed by split and index.

    Args:
        name: The name of the dataset.
        data: The dataset, loaded.
        tasks: Split -> the shape of its tasks, and their seed.
        settings: Sets how a run computes, within a block, and then puts the caller's own settings of torch back.

    Attributes:
        name: The name of the dataset.
        data: The dataset, loaded.
        kind: ``classification`` or ``regression``.
        input_shape: The shape of one example.
        digest: The hash of the data, as in records.
    """

    def __init__(
        self,
        name: str,
        data: MetaDataset,
        tasks: Mapping[str, tuple[TaskShape, int]],
        settings: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.name = name
        self.data = data
        self.kind = data.kind
        self.input_shape = tuple(data.input_shape)
        self.digest = data.digest
        self._tasks = dict(tasks)
        self._settings = settings

    def __repr__(self) -> str:
        """Name, kind and shape."""
        return f"<{self.name}: {self.kind}, examples of shape {self.input_shape}>"

    @property
    def capacity(self) -> Mapping[Split, Capacity] | None:
        """Classes and examples per class of each split; None where tasks are endless."""
        return self.data.capacity()

    def episodes(self, split: Split, indices: Iterable[int], seed: int | None = None) -> Episode:
        """Return episodes, stacked along a leading T.

        Without a seed they are those of a run with the default seeds: ``train`` episodes have the training shape and
        ``seed``, ``val`` and ``test`` episodes the shape of ``task`` and ``eval.seed``.

        Args:
            split: ``train``, ``val`` or ``test``.
            indices: The numbers of the episodes.
            seed: Another seed.

        Returns:
            ``support`` and ``query``, each with x (T, S, ...) and y (T, S), or y (T, S, D_out) in regression.

        Raises:
            ConfigError: There is no such split or no index, an index is negative, or the dataset is too small.
        """
        if split not in SPLITS:
            raise ConfigError(f"split={split} is unknown; there are {', '.join(SPLITS)}.")
        try:
            numbers = [index(number) for number in indices]
        except TypeError:  # a number alone, or one that is not whole
            numbers = []
        if not numbers or min(numbers) < 0:
            given = shortened(str(indices))
            raise ConfigError(f"indices={given} must be at least one whole number >= 0, such as range(4).")
        shape, usual = self._tasks[split]
        with self._settings():
            source = self.data.tasks(shape, usual if seed is None else seed)
            return source.episodes(split, torch.tensor(numbers))
