"""Families of regression tasks: functions of a few parameters, without classes and without end."""

from __future__ import annotations

import copy
import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from metaexp.core.addressing import episode_keys, subkeys
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import Capacity, Split, TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.data.base import MetaDataset, TaskSource

_TASK: Final = 0
_SUPPORT: Final = 1
_QUERY: Final = 2
_HASHED_AT_ONCE: Final = 4096


class Words(NamedTuple):
    """The random 64-bit words of T tasks, int64: (T, W) of the task, (T, S, V) and (T, M, V) of its examples."""

    task: Tensor
    support: Tensor
    query: Tensor


class FunctionFamily(MetaDataset):
    """A family of functions. Subclasses make examples out of words; every task has words of its own.

    Attributes:
        words_per_task: W of :class:`Words`.
        words_per_example: V of :class:`Words`.
    """

    kind = "regression"
    words_per_task: int
    words_per_example: int

    def __init__(
        self, name: str, input_shape: tuple[int, ...], target_size: int, conventions: Mapping[str, Any]
    ) -> None:
        """Take what describes the family.

        Args:
            name: What messages call it.
            input_shape: The shape of one input.
            target_size: Outputs of an example.
            conventions: JSON values that, with the name, decide every example.
        """
        self.name = name
        self.input_shape = input_shape
        self.target_size = target_size
        self.device = torch.device("cpu")
        text = json.dumps({"name": name, **conventions}, sort_keys=True)
        self.digest = hashlib.sha256(text.encode()).hexdigest()

    @abstractmethod
    def parameters(self, words: Tensor) -> Any:
        """Return what distinguishes tasks: a NamedTuple of tensors (T,), from the words (T, W) of the tasks."""

    @abstractmethod
    def function(self, parameters: Any, at: Tensor) -> Tensor:
        """Return the values (T, P) of the functions of ``parameters`` at the places ``at`` (T, P), without noise.

        Args:
            parameters: A NamedTuple of tensors (T,).
            at: Places (T, P).
        """

    @abstractmethod
    def examples(self, parameters: Any, words: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs (T, S, *input_shape) and targets (T, S, target_size), from the words (T, S, V).

        Args:
            parameters: A NamedTuple of tensors (T,).
            words: Random words of 64 bits (T, S, V), int64.
        """

    def capacity(self) -> Mapping[Split, Capacity] | None:
        """Return None: tasks and examples are endless."""
        return None

    def tasks(self, shape: TaskShape, seed: int) -> FunctionTasks:
        """Return tasks of K support and Q query examples.

        Raises:
            ConfigError: The shape has classes, or no examples.
        """
        if shape.n_way != 0:
            raise ConfigError(
                f"task.n_way={shape.n_way}, but {self.name} is a family of regression tasks, which have no classes: "
                "use task=regression_10shot, or any other with n_way=0."
            )
        if shape.k_shot < 1 or shape.n_query < 1:
            raise ConfigError(f"task.k_shot={shape.k_shot} and task.n_query={shape.n_query} must be at least 1.")
        return FunctionTasks(self, shape, seed)

    def batches(self, batch_size: int, seed: int) -> TaskSource:
        """Raise ConfigError: a family has no classes."""
        raise ConfigError(
            f"dataset={self.name} has no classes to train on under fixed labels: it is a family of regression tasks. "
            "Choose a classification dataset, or an algorithm that trains on episodes."
        )

    def to(self, device: torch.device) -> FunctionFamily:
        moved = copy.copy(self)
        moved.device = device
        return moved


class FunctionTasks(TaskSource):
    """The tasks of a family at their addresses.

    A task's function depends neither on K nor on Q; fewer shots are the first of more, and more queries are added
    to those there are.
    """

    def __init__(self, family: FunctionFamily, shape: TaskShape, seed: int) -> None:
        """Take the family, the shape of the tasks, and the seed that decides which they are."""
        self.family = family
        self._shape = shape
        self._seed = seed

    def episodes(self, split: Split, indices: Tensor) -> Episode:
        """Return the episodes at ``indices`` (T,)."""
        words = self._words(split, indices)
        parameters = self.family.parameters(words.task)
        return Episode(
            Examples(*self.family.examples(parameters, words.support)),
            Examples(*self.family.examples(parameters, words.query)),
        )

    def parameters(self, split: Split, indices: Tensor) -> Any:
        """Return the parameters of the tasks at ``indices`` (T,): a NamedTuple of tensors (T,).

        Args:
            split: ``train``, ``val`` or ``test``.
            indices: Numbers of the tasks (T,), int64.
        """
        return self.family.parameters(self._words(split, indices).task)

    def curve(self, split: Split, indices: Tensor, at: Tensor) -> Tensor:
        """Return the values (T, P) of the true functions of some tasks.

        Places are inputs of the function: x for ``sinusoid``, times for ``curves``.

        Args:
            split: The split of the tasks.
            indices: The tasks (T,).
            at: The places (P,) or (T, P).
        """
        at = at.to(self.family.device, torch.float32).expand(len(indices), -1)
        return self.family.function(self.parameters(split, indices), at)

    def bank_hash(self, split: Split, n_episodes: int) -> str:
        """SHA-256 (hex) over the family's digest and the words of the first episodes: integers, not function values."""
        digest = hashlib.sha256(self.family.digest.encode())
        for start in range(0, n_episodes, _HASHED_AT_ONCE):
            words = self._words(split, torch.arange(start, min(start + _HASHED_AT_ONCE, n_episodes)))
            for row in torch.cat([w.flatten(1) for w in words], dim=1).cpu().numpy().astype("<i8"):
                digest.update(row.tobytes())
        return digest.hexdigest()

    def _words(self, split: Split, indices: Tensor) -> Words:
        family = self.family
        keys = episode_keys(self._seed, split, indices.to(family.device))  # (T,)
        return Words(
            subkeys(keys, _TASK, family.words_per_task),
            subkeys(subkeys(keys, _SUPPORT, self._shape.k_shot), 0, family.words_per_example),
            subkeys(subkeys(keys, _QUERY, self._shape.n_query), 0, family.words_per_example),
        )
