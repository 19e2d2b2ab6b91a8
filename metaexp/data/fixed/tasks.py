"""A dataset whose test episodes are those of a list. Training and validation episodes are drawn as usual."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from metaexp.core.errors import ConfigError
from metaexp.core.fit.task_fit import fixed_number_problem, fixed_shape_problem
from metaexp.core.shapes import Capacity, Split, TaskShape
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.tasks import ClassTasks, Draw
from metaexp.data.fixed.episode_file import EpisodeList, Item


class FixedTestDataset(ClassDataset):
    """Examples grouped by class, whose test episodes a list gives, for every seed."""

    def __init__(self, episodes: EpisodeList, rows: Mapping[Item, int], *arguments: Any) -> None:
        """Take the episodes and the examples.

        Args:
            episodes: The test episodes.
            rows: The row in the examples of each image of the episodes.
            *arguments: Those of :class:`ClassDataset`.

        Raises:
            DataError: The examples and their classes do not fit together.
        """
        super().__init__(*arguments)
        self.test_shape = episodes.shape
        self._bank = _bank(episodes, rows)
        listed = json.dumps([[e.name, e.support, e.query] for e in episodes.episodes])
        self.digest = hashlib.sha256(f"{self.digest}\0{listed}".encode("utf-8", "surrogateescape")).hexdigest()

    def capacity(self) -> dict[Split, Capacity]:
        """Return the classes of every split and the smallest of each; those of the test split are never turned."""
        found = super().capacity()
        turned = self.rotations.classes_per_class("test")
        return found | {"test": found["test"]._replace(n_classes=found["test"].n_classes // turned)}

    @property
    def bank(self) -> Draw:
        """Rows and labels of all test episodes, on the device."""
        return self._bank

    def tasks(self, shape: TaskShape, seed: int) -> FixedTestTasks:
        """Return the tasks of a shape; those of the test split have the shape of the list."""
        super().tasks(shape, seed)  # checks the shape
        return FixedTestTasks(self, shape, seed)

    def to(self, device: torch.device) -> FixedTestDataset:
        moved = super().to(device)
        assert isinstance(moved, FixedTestDataset)
        moved._bank = Draw(*(tensor.to(moved.device) for tensor in self._bank))
        return moved


class FixedTestTasks(ClassTasks):
    """Tasks whose test episodes are those of a list: episode i is the i-th, its images in the order of the list."""

    def __init__(self, data: FixedTestDataset, shape: TaskShape, seed: int) -> None:
        """Take the examples, the shape of the tasks, and the seed of those that are drawn."""
        super().__init__(data, shape, seed)
        self._fixed = data

    def draw(self, split: Split, indices: Tensor) -> Draw:
        """Return the rows and labels of the episodes at ``indices`` (T,).

        Args:
            split: ``train`` and ``val`` are drawn; ``test`` is looked up.
            indices: Numbers of the episodes (T,), int64.

        Raises:
            ConfigError: The list has no such episode, or its episodes have another shape.
        """
        if split != "test":
            return super().draw(split, indices)
        name, bank = self._fixed.origin.name, self._fixed.bank
        if self._shape != self._fixed.test_shape:
            raise ConfigError(fixed_shape_problem(name, self._fixed.test_shape, self._shape))
        n_episodes = len(bank.support_y)
        if len(indices) and int(indices.max()) >= n_episodes:
            raise ConfigError(fixed_number_problem(name, n_episodes, int(indices.max()) + 1))
        wanted = indices.to(self._fixed.device)
        return Draw(*(tensor[wanted] for tensor in bank))


def _bank(episodes: EpisodeList, rows: Mapping[Item, int]) -> Draw:
    """Rows and labels of all episodes: (n, S), (n, S), (n, M), (n, M)."""
    draws = []
    for episode in episodes.episodes:
        labels = {name: i for i, name in enumerate(dict.fromkeys(item.class_name for item in episode.support))}
        draws.append([*_draw(episode.support, rows, labels), *_draw(episode.query, rows, labels)])
    return Draw(*(torch.tensor(values) for values in zip(*draws, strict=True)))


def _draw(items: Sequence[Item], rows: Mapping[Item, int], labels: Mapping[str, int]) -> tuple[list[int], list[int]]:
    return [rows[item] for item in items], [labels[item.class_name] for item in items]
