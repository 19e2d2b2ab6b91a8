"""Regression tasks with examples in memory, and episodes of them by address."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from metaexp.core.addressing import distinct, episode_keys
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import Capacity, Split, TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.data.base import MetaDataset, TaskSource
from metaexp.data.classification.class_table import ClassTable

_TASK: Final = 0
_EXAMPLES: Final = 1
_HASHED_AT_ONCE: Final = 4096


class TableData(MetaDataset):
    """Examples (B, ...) ordered by task, and the tasks of each split."""

    kind = "regression"

    def __init__(
        self,
        name: str,
        x: Tensor,
        y: Tensor,
        sizes: Mapping[str, int],
        splits: Mapping[Split, Sequence[str]],
        conventions: Mapping[str, Any],
        forecast: Sequence[int] = (),
    ) -> None:
        """Take the examples.

        Args:
            name: What messages call the dataset.
            x: Inputs (B, D) or (B, L, D), float32.
            y: Targets (B, D_out), float32.
            sizes: Task -> its number of examples, in the order of the rows.
            splits: The tasks of each split.
            conventions: JSON values that, with the examples, decide what is delivered.
            forecast: The numbers of the columns of x that y continues, step by step; empty if it does not.
        """
        self.name = name
        self.x, self.y = x.contiguous(), y.contiguous()
        self.input_shape = tuple(x.shape[1:])
        self.target_size = y.shape[1]
        self.forecast = tuple(forecast)
        self.conventions = conventions
        first, row = {}, 0
        for task, size in sizes.items():
            first[task], row = row, row + size
        self.task_names = {split: tuple(names) for split, names in splits.items()}
        self._tables = {
            split: ClassTable.of([first[task] for task in names], [sizes[task] for task in names])
            for split, names in self.task_names.items()
        }
        described = {"sizes": list(sizes.items()), "splits": self.task_names, **conventions}
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode("utf-8", "surrogateescape"))
        for tensor in (self.x, self.y):
            digest.update(json.dumps(list(tensor.shape)).encode() + tensor.numpy().astype("<f4").tobytes())
        self.digest = digest.hexdigest()

    def capacity(self) -> dict[Split, Capacity]:
        """Return the number of tasks and the examples of the smallest one, of each split."""
        return {split: Capacity(table.n_classes, table.smallest) for split, table in self._tables.items()}

    def continuation(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return sequences (M, L) and what follows them (M, H), of the first column that is forecast."""
        if not self.forecast:
            return super().continuation(x, y)
        return x[..., self.forecast[0]], y.reshape(len(y), -1, len(self.forecast))[..., 0]

    def table(self, split: Split) -> ClassTable:
        """Return where the tasks of ``split`` are among the examples."""
        return self._tables[split]

    def tasks(self, shape: TaskShape, seed: int) -> TableTasks:
        """Return tasks of K support and Q query examples.

        Raises:
            ConfigError: The shape has classes, or more examples than the smallest task.
        """
        if shape.n_way != 0:
            raise ConfigError(
                f"task.n_way={shape.n_way}, but {self.name} has regression tasks, which have no classes: use "
                "task=regression_10shot, or any other with n_way=0."
            )
        return TableTasks(self, shape, seed)

    def batches(self, batch_size: int, seed: int) -> TaskSource:
        """Raise ConfigError: there are no classes."""
        raise ConfigError(
            f"{self.name} has no classes to train on under fixed labels: it has regression tasks. Choose a "
            "classification dataset, or an algorithm that trains on episodes."
        )

    def to(self, device: torch.device) -> TableData:
        moved = copy.copy(self)
        moved.x, moved.y = self.x.to(device), self.y.to(device)
        moved._tables = {split: table.to(device) for split, table in self._tables.items()}
        return moved


class TableTasks(TaskSource):
    """A task drawn uniformly, and K + Q different examples of it. Support does not depend on Q."""

    def __init__(self, data: TableData, shape: TaskShape, seed: int) -> None:
        """Take the data, the shape of the tasks, and the seed that decides which they are."""
        self._data = data
        self._shape = shape
        self._seed = seed

    def episodes(self, split: Split, indices: Tensor) -> Episode:
        """Return the episodes at ``indices`` (T,): x (T, K, ...), y (T, K, D_out); Q in place of K for the query."""
        rows = self.draw(split, indices)
        x, y = self._data.x[rows], self._data.y[rows]
        k_shot = self._shape.k_shot
        return Episode(Examples(x[:, :k_shot], y[:, :k_shot]), Examples(x[:, k_shot:], y[:, k_shot:]))

    def draw(self, split: Split, indices: Tensor) -> Tensor:
        """Return the rows (T, K + Q) of the examples of the episodes at ``indices`` (T,).

        Args:
            split: ``train``, ``val`` or ``test``.
            indices: Numbers of the episodes (T,), int64.

        Raises:
            ConfigError: The smallest task of the split has fewer examples.
        """
        table = self._data.table(split)
        needed = self._shape.k_shot + self._shape.n_query
        if needed > table.smallest:
            section = "train" if split == "train" else "task"
            raise ConfigError(
                f"{section}.k_shot={self._shape.k_shot} and {section}.n_query={self._shape.n_query} need {needed} "
                f"examples per task; the smallest {split} task of {self._data.name} has {table.smallest}. Lower them, "
                "or leave out small tasks with dataset.min_examples."
            )
        keys = episode_keys(self._seed, split, indices.to(self._data.x.device, non_blocking=True))
        task = distinct(keys, _TASK, 1, table.n_classes)[:, 0]
        sizes = table.smallest if table.equal else table.length[task]
        return table.first[task].unsqueeze(-1) + distinct(keys, _EXAMPLES, needed, sizes)

    def bank_hash(self, split: Split, n_episodes: int) -> str:
        """Return the SHA-256 (hex) over the data's digest and the rows of the first episodes."""
        digest = hashlib.sha256(self._data.digest.encode())
        for start in range(0, n_episodes, _HASHED_AT_ONCE):
            rows = self.draw(split, torch.arange(start, min(start + _HASHED_AT_ONCE, n_episodes)))
            digest.update(rows.cpu().numpy().astype("<i8").tobytes())
        return digest.hexdigest()
