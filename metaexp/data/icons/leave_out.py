"""The protocol of a designer who is left out: not in training, and drawing the queries of the test."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from metaexp.core.addressing import distinct, subkeys
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import Split, TaskShape
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.class_table import ClassTable
from metaexp.data.classification.tasks import ClassTasks

_SUPPORT: Final = 1
_QUERY: Final = 5


class LeftOutDesigner(ClassDataset):
    """A dataset whose test classes end with the drawings of one designer, the queries of all test tasks.

    Attributes:
        n_last: How many of the last drawings of each test class these are.
    """

    n_last: int = 1

    def tasks(self, shape: TaskShape, seed: int) -> ClassTasks:
        """Return the tasks of a shape. The queries of those in the test split are the designer's."""
        super().tasks(shape, seed)
        return LeftOutTasks(self, shape, seed)


class LeftOutTasks(ClassTasks):
    """N-way K-shot tasks; in the test split the support is drawn by others, and the queries by one designer."""

    def __init__(self, data: LeftOutDesigner, shape: TaskShape, seed: int) -> None:
        super().__init__(data, shape, seed)
        self._n_last = data.n_last

    def _rows(self, split: Split, keys: Tensor, classes: Tensor) -> Tensor:
        if split != "test":
            return super()._rows(split, keys, classes)
        n_way, k_shot, n_query = self._shape
        table = self._data.table(split)
        first, n_others = table.first[classes], table.length[classes] - self._n_last
        support = distinct(subkeys(keys, _SUPPORT, n_way), 0, k_shot, n_others)  # (T, N, K)
        query = n_others.unsqueeze(-1) + distinct(subkeys(keys, _QUERY, n_way), 0, n_query, self._n_last)  # (T, N, Q)
        return first.unsqueeze(-1) + torch.cat([support, query], dim=-1)

    def _check_fits(self, split: Split, table: ClassTable) -> None:
        super()._check_fits(split, table)
        _, k_shot, n_query = self._shape
        n_others = table.smallest - self._n_last
        if split == "test" and n_query > self._n_last:
            raise ConfigError(
                f"task.n_query={n_query}: the designer of dataset.leave_out drew {self._n_last} of each class of the "
                f"test, and draws its queries. Set task.n_query={self._n_last}, and train.n_query={n_query} if "
                "training is to have more."
            )
        if split == "test" and k_shot > n_others:
            raise ConfigError(
                f"task.k_shot={k_shot}: without the designer of dataset.leave_out, the smallest class of the test has "
                f"{n_others} drawings. Lower it."
            )
