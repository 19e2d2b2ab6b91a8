"""Episodes and supervised batches of a classification dataset, by address."""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

import torch
from torch import Tensor

from metaexp.core.addressing import distinct, episode_keys, integers, permutation, subkeys
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import Split, TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.data.base import TaskSource
from metaexp.data.classification.class_table import ClassTable, LabelledExamples, RotationDraw

_CLASSES: Final = 0
_EXAMPLES: Final = 1
_ROTATION: Final = 2
_SUPPORT_ORDER: Final = 3
_QUERY_ORDER: Final = 4
_HASHED_AT_ONCE: Final = 4096


class Draw(NamedTuple):
    """Which examples make up T episodes: rows of the dataset and labels, (T, S) of the support, (T, M) of the query."""

    support_rows: Tensor
    support_y: Tensor
    query_rows: Tensor
    query_y: Tensor


class ClassTasks(TaskSource):
    """N-way K-shot tasks: N classes in random order (which is their labels), K + Q different examples of each.

    Support and query are each shuffled. The support examples of a task do not depend on Q, nor the first classes
    and shots on N and K.
    """

    def __init__(self, data: LabelledExamples, shape: TaskShape, seed: int) -> None:
        """Take the examples, the shape of the tasks, and the seed that decides which they are."""
        self._data = data
        self._shape = shape
        self._seed = seed
        self._fits: set[Split] = set()

    def episodes(self, split: Split, indices: Tensor) -> Episode:
        """Return the episodes at ``indices`` (T,): images (T, S, C, H, W), labels (T, S).

        Raises:
            ConfigError: The classes of ``split`` are too few or too small for the shape of the tasks.
        """
        draw = self.draw(split, indices)
        n_way = self._shape.n_way
        support, query = self._data.examples(draw.support_rows), self._data.examples(draw.query_rows)
        return Episode(
            Examples(support, draw.support_y.to(support.device, non_blocking=True), n_way),
            Examples(query, draw.query_y.to(query.device, non_blocking=True), n_way),
        )

    def class_names(self, split: Split, n_episodes: int) -> list[tuple[str, ...]]:
        """Return the classes of each of the first episodes of a split, in the order of their labels."""
        found: list[tuple[str, ...]] = []
        n_way = self._shape.n_way
        for start in range(0, n_episodes, _HASHED_AT_ONCE):
            draw = self.draw(split, torch.arange(start, min(start + _HASHED_AT_ONCE, n_episodes)))
            names = self._data.classes_of(first_rows(draw.support_rows, draw.support_y).flatten())
            found += [tuple(names[i : i + n_way]) for i in range(0, len(names), n_way)]
        return found

    def draw(self, split: Split, indices: Tensor) -> Draw:
        """Return the rows and labels of the episodes at ``indices`` (T,).

        Args:
            split: ``train``, ``val`` or ``test``.
            indices: Numbers of the episodes (T,), int64.
        """
        table = self._data.table(split)
        if split not in self._fits:
            self._check_fits(split, table)
            self._fits.add(split)
        n_way, k_shot, n_query = self._shape
        keys = episode_keys(self._seed, split, indices.to(self._data.device, non_blocking=True))  # (T,)
        classes = distinct(keys, _CLASSES, n_way, table.n_classes)  # (T, N)
        rows = self._rows(split, keys, classes)  # (T, N, K + Q)
        rows = rows + _turn(keys, n_way, self._data.rotation_draw(split))
        support = _shuffled(rows[..., :k_shot], permutation(keys, _SUPPORT_ORDER, n_way * k_shot))
        query = _shuffled(rows[..., k_shot:], permutation(keys, _QUERY_ORDER, n_way * n_query))
        return Draw(*support, *query)

    def bank_hash(self, split: Split, n_episodes: int) -> str:
        """Return the SHA-256 (hex) over the raw data's digest and the rows and labels of the first episodes."""
        digest = hashlib.sha256(self._data.origin.digest.encode())
        for start in range(0, n_episodes, _HASHED_AT_ONCE):
            draw = self.draw(split, torch.arange(start, min(start + _HASHED_AT_ONCE, n_episodes)))
            digest.update(torch.cat(draw, dim=1).cpu().numpy().astype("<i8").tobytes())
        return digest.hexdigest()

    def _rows(self, split: Split, keys: Tensor, classes: Tensor) -> Tensor:
        """The rows (T, N, K + Q) of different examples of ``classes`` (T, N), of the support and then of the query."""
        n_way, k_shot, n_query = self._shape
        table = self._data.table(split)
        sizes = table.smallest if table.equal else table.length[classes]
        examples = distinct(subkeys(keys, _EXAMPLES, n_way), 0, k_shot + n_query, sizes)  # (T, N, K + Q)
        return table.first[classes].unsqueeze(-1) + examples

    def _check_fits(self, split: Split, table: ClassTable) -> None:
        """Raise ConfigError, with every reason, when ``split`` cannot serve tasks of this shape."""
        name = self._data.origin.name
        keys = "train" if split == "train" else "task"
        n_way, k_shot, n_query = self._shape
        problems = []
        if n_way > table.n_classes:
            problems.append(f"{keys}.n_way={n_way} needs {n_way} classes; {name} has {table.n_classes} for {split}.")
        if k_shot + n_query > table.smallest:
            problems.append(
                f"{keys}.k_shot={k_shot} and {keys}.n_query={n_query} need {k_shot + n_query} images per class; "
                f"{name} has {table.smallest}."
            )
        if problems:
            raise ConfigError(problems)


class ClassBatches(TaskSource):
    """Supervised batches of different examples of a split, labelled by the place of their class in the split.

    They are drawn uniformly over the examples. Turns that are drawn per class or per episode in tasks are drawn per
    example or per batch.
    """

    def __init__(self, data: LabelledExamples, batch_size: int, seed: int) -> None:
        """Take the examples, the number in a batch, and the seed that decides which they are."""
        self._data = data
        self._batch_size = batch_size
        self._seed = seed

    def episodes(self, split: Split, indices: Tensor) -> Episode:
        """Return the batches at ``indices`` (T,): images (T, B, C, H, W), labels (T, B), as support and as query."""
        rows, y = self.draw(split, indices)
        x = self._data.examples(rows)
        batch = Examples(x, y.to(x.device, non_blocking=True), self._data.table(split).n_classes)
        return Episode(batch, batch)

    def draw(self, split: Split, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows (T, B) and labels (T, B) of the batches at ``indices`` (T,).

        Args:
            split: ``train``, ``val`` or ``test``.
            indices: Numbers of the batches (T,), int64.

        Raises:
            ConfigError: The split has fewer examples than a batch.
        """
        table = self._data.table(split)
        if self._batch_size > table.total:
            raise ConfigError(
                f"a batch of {self._batch_size} examples is more than the {table.total} "
                f"that {self._data.origin.name} has for {split}."
            )
        keys = episode_keys(self._seed, split, indices.to(self._data.device, non_blocking=True))  # (T,)
        number = distinct(keys, _EXAMPLES, self._batch_size, table.total)  # (T, B)
        ends = table.length.cumsum(0)
        y = torch.searchsorted(ends, number, right=True)  # (T, B)
        rows = table.first[y] + number - (ends - table.length)[y]
        turn = _turn(keys, self._batch_size, self._data.rotation_draw(split))
        return rows + (turn.squeeze(-1) if isinstance(turn, Tensor) else turn), y

    def bank_hash(self, split: Split, n_episodes: int) -> str:
        """Return the SHA-256 (hex) over the raw data's digest and the rows and labels of the first batches."""
        digest = hashlib.sha256(self._data.origin.digest.encode())
        for index in range(n_episodes):
            draw = self.draw(split, torch.tensor([index]))
            digest.update(torch.cat(draw, dim=1).cpu().numpy().astype("<i8").tobytes())
        return digest.hexdigest()


def first_rows(rows: Tensor, y: Tensor) -> Tensor:
    """Return the row (..., N) of an example of each class.

    Args:
        rows: (..., S) int64, the support.
        y: (..., S) int64, its labels 0 ... N - 1, each at least once.
    """
    order = y.argsort(stable=True, dim=-1)
    is_first = y.gather(-1, order).diff(dim=-1, prepend=torch.full_like(y[..., :1], -1)) == 1
    return rows.gather(-1, order)[is_first].view(*y.shape[:-1], -1)


def _turn(keys: Tensor, n_groups: int, rotation: RotationDraw) -> Tensor | int:
    """What to add to the rows (T, n_groups, ...) so that they show a drawn turn: (T, n_groups or 1, 1), or 0."""
    if rotation.over == "none":
        return 0
    n = n_groups if rotation.over == "per_class" else 1
    return integers(subkeys(keys, _ROTATION, n), 4).unsqueeze(-1) * rotation.stride


def _shuffled(rows: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """``rows`` (T, N, K) in ``order`` (T, N * K), and the labels (T, N * K) that go with them."""
    per_class = rows.shape[-1]
    labels = torch.div(order, per_class, rounding_mode="floor")
    return rows.flatten(1).gather(1, order), labels
