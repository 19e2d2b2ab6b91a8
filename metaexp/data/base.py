"""What a dataset is to the rest of metaexp. Importing this module does not import torch.

Three types, from the file system up: a :class:`Dataset` is a *description* (the arguments of a YAML file),
cheap to make and to check; :meth:`Dataset.load` reads it into a :class:`MetaDataset`, the tensors in memory;
:meth:`MetaDataset.tasks` gives a :class:`TaskSource` that turns (split, indices) into episodes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from metaexp.core.shapes import Capacity, Split, TaskShape

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from metaexp.core.types import Episode

Progress = Callable[[str], None]
"""Receives one line of text about long work (a download, a build)."""


class Dataset(ABC):
    """The description of a dataset: constructor arguments are the keys of its YAML file.

    Subclasses import torch only inside :meth:`load`, so that configurations are checked without it.
    """

    kind: Literal["classification", "regression"]

    @abstractmethod
    def capacity(self) -> Mapping[Split, Capacity] | None:
        """Classes and examples per class of every split, after class augmentation; None when only the files tell.

        Regression families return None: they have no classes and no end.
        """

    @abstractmethod
    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        """Read, build or download everything into memory.

        folder: ``paths.data``. Raises DataError naming what to put where when it cannot be had.
        """


class MetaDataset(ABC):
    """A dataset in memory, with its splits."""

    kind: Literal["classification", "regression"]
    input_shape: tuple[int, ...]
    """Shape of one example: (C, H, W), (L, D) or (D,)."""
    target_size: int
    """Outputs D_out of a regression task; 0 for classification, where the task's n_way decides."""
    digest: str
    """SHA-256 (hex) over everything that decides the examples: decoded pixels, class lists, conventions."""

    @abstractmethod
    def capacity(self) -> Mapping[Split, Capacity] | None:
        """As :meth:`Dataset.capacity`, now known for certain."""

    @abstractmethod
    def tasks(self, shape: TaskShape, seed: int) -> TaskSource:
        """The tasks of that shape addressed by (seed, split, index)."""

    @abstractmethod
    def batches(self, batch_size: int, seed: int) -> TaskSource:
        """Supervised batches over all classes of a split under fixed labels, as episodes whose support and query
        are both the batch of ``batch_size`` examples. Raises ConfigError for regression families."""

    @abstractmethod
    def to(self, device: torch.device) -> MetaDataset:
        """The same dataset with its tensors on ``device``, where episodes are then made."""


class TaskSource(ABC):
    """Episodes addressed by (seed, split, index): the same address gives the same bits on every device,
    whatever the batch, process or rank that asks for it."""

    @abstractmethod
    def episodes(self, split: Split, indices: Tensor) -> Episode:
        """The episodes at ``indices`` (T,) int64, as a batch with leading T."""

    @abstractmethod
    def bank_hash(self, split: Split, n_episodes: int) -> str:
        """SHA-256 (hex) over which examples make up episodes 0..n_episodes-1 of a split, in order, with labels."""
