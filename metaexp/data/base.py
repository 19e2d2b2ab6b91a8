"""What a dataset is to the rest of metaexp. Importing this module does not import torch.

Three types, from the file system up: a :class:`Dataset` is a *description* (the arguments of a YAML file),
cheap to make and to check; :meth:`Dataset.load` reads it into a :class:`MetaDataset`, the tensors in memory;
:meth:`MetaDataset.tasks` gives a :class:`TaskSource` that turns (split, indices) into episodes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from metaexp.core.shapes import Capacity, FixedBank, Split, TaskShape
from metaexp.data.files.progress import Progress as Progress

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from metaexp.core.types import Episode
    from metaexp.data.classification.preprocessing import ImagePreparation, Pixels
    from metaexp.data.inventory.card import Card
    from metaexp.data.inventory.sources import Sources
    from metaexp.data.regression.scales import Scales


class Dataset(ABC):
    """The description of a dataset: constructor arguments are the keys of its YAML file.

    Subclasses import torch only inside :meth:`load`, so that configurations are checked without it.
    """

    kind: Literal["classification", "regression"]
    varied_ways: bool = False
    """Whether episodes differ in the number of classes, so that algorithms with an output for each cannot be used."""
    val_in_train: bool = False
    """Whether the classes of validation, or in regression its tasks, are trained on, too. Then validation does not test
    new ones, and a run must choose nothing by it (``eval.weights=last``). Records say so."""
    equal_classes: bool = False
    """Whether all classes have as many examples as :meth:`capacity` says, so that a split's examples can be counted."""
    reads_cache: bool = False
    """Whether :meth:`load` begins with :func:`metaexp.data.cache.prepared.cached`, so that the jobs of a sweep can
    share its examples in memory."""
    fixed_tests: bool = False
    """Whether :meth:`fixed_bank` names fixed test episodes, so that no more of them can be drawn."""
    card: ClassVar[Card | None] = None
    """Where the data come from and under which terms, for ``metaexp data show``; None if unknown."""

    @abstractmethod
    def capacity(self) -> Mapping[Split, Capacity] | None:
        """Return classes and examples per class of every split, after class augmentation.

        In regression these are tasks and examples per task. None where only the files tell, and where tasks are
        endless.
        """

    def capacity_in(self, folder: Path) -> Mapping[Split, Capacity] | None:
        """Return :meth:`capacity`, or where that is None what the files tell, without reading the examples.

        So a task that is too large for the data is found before anything starts. Subclasses whose files tell it
        override this; it must be quick, and import no torch.

        Args:
            folder: ``paths.data``.

        Raises:
            DataError: The files are missing or wrong.
        """
        return self.capacity()

    def class_ids_in(self, folder: Path) -> Mapping[Split, Mapping[str, frozenset[str]]] | None:
        """Return for each split what :meth:`MetaDataset.class_ids` will, or only the identifiers by name.

        So a run whose initial weights were trained on some of them is noticed before anything starts. Subclasses whose
        lists or files name the classes override this; it must be quick, and import no torch. None where only the
        examples tell. Those that override only :meth:`load` name none.

        Args:
            folder: ``paths.data``.

        Raises:
            DataError: The files are missing or wrong.
        """
        return None

    def fixed_bank(self, folder: Path | None) -> FixedBank | None:
        """Return the shape and number of the test episodes, for a dataset whose test episodes are fixed; None here.

        Args:
            folder: ``paths.data``, if only the files of the dataset tell it. None reads no file and gives None.

        Raises:
            DataError: The files are missing or wrong.
        """
        return None

    def image_preparation(self) -> ImagePreparation | None:
        """Return how image files and bytes become examples, for ``metaexp predict``; None if unknown.

        Subclasses that read image files override this.
        """
        return None

    def scales(self, folder: Path, progress: Progress) -> Scales | None:
        """Return how numbers of a file are scaled, for ``metaexp predict``; None where they stay as they are.

        Args:
            folder: The folder of all data.
            progress: Takes lines about what is done meanwhile.
        """
        return None

    def sources(self, folder: Path) -> Sources | None:
        """Return which files the data are read from, for ``metaexp data list``; None if unknown.

        Nothing is read, and nothing is fetched.

        Args:
            folder: ``paths.data``.
        """
        return None

    @abstractmethod
    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        """Read, build or download everything into memory.

        Args:
            folder: ``paths.data``.
            progress: Receives a line about each long piece of work, and warnings.

        Raises:
            DataError: The data are missing and cannot be downloaded. The message names what to put where.
        """


class MetaDataset(ABC):
    """A dataset in memory, with its splits."""

    kind: Literal["classification", "regression"]
    input_shape: tuple[int, ...]
    """Shape of one example: (C, H, W), (L, D) or (D,)."""
    target_size: int
    """Outputs D_out of a regression task; 0 for classification, where the task's n_way decides."""
    digest: str
    """SHA-256 (hex) over everything that decides the examples: decoded pixels, class lists, preprocessing."""

    @abstractmethod
    def capacity(self) -> Mapping[Split, Capacity] | None:
        """Return what :meth:`Dataset.capacity` does, now known for certain."""

    def n_labels(self) -> int | None:
        """Return the labels in batches of the training split, its classes; None if they are not known."""
        capacity = self.capacity()
        return None if capacity is None or self.kind == "regression" else capacity["train"].n_classes

    def class_ids(self, split: Split) -> Mapping[str, frozenset[str]]:
        """Return what the classes of a split are recognised by in other datasets and other splits.

        Returns:
            Class -> its identifiers; two classes that share one are the same. Empty in regression.
        """
        return {}

    def stored_pixels(self) -> Pixels | None:
        """Return how the bytes of images became their values, the same for all; None where they did not."""
        return None

    def continuation(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return sequences and what follows them, one number a step, as figures draw them.

        Args:
            x: Inputs (M, ...).
            y: Targets or outputs (M, D_out).

        Returns:
            Values (M, L) and (M, H); None if inputs are not sequences, or sequences of several numbers a step.
        """
        return (x[..., 0], y) if self.kind == "regression" and x.dim() == 3 and x.shape[-1] == 1 else None

    @abstractmethod
    def tasks(self, shape: TaskShape, seed: int) -> TaskSource:
        """Return the tasks of a shape, addressed by (seed, split, index).

        Args:
            shape: Ways, shots and queries of a task.
            seed: Another seed gives other tasks.
        """

    @abstractmethod
    def batches(self, batch_size: int, seed: int) -> TaskSource:
        """Return supervised batches over all classes of a split under fixed labels.

        They are episodes whose support and query are both the batch.

        Args:
            batch_size: Examples in a batch.
            seed: Which batches.

        Raises:
            ConfigError: The dataset is a regression family.
        """

    @abstractmethod
    def to(self, device: torch.device) -> MetaDataset:
        """Return the same dataset with its tensors on ``device``, where episodes are then made."""


class TaskSource(ABC):
    """Episodes addressed by (seed, split, index).

    The same address gives the same bits on every device, in every batch, process and rank.
    """

    varies: bool = False
    """Whether episodes differ in ways, shots or queries, so that only groups of them can be stacked."""

    def alike(self, split: Split, indices: Tensor) -> list[Tensor]:
        """Return the places of episodes that can be stacked, in groups; here all of them.

        Sources with :attr:`varies` override this.

        Args:
            split: ``train``, ``val`` or ``test``.
            indices: Numbers of the episodes (T,), int64.

        Returns:
            Places in ``indices`` (T_g,) for each group. Together they are 0 ... T - 1, each once.
        """
        import torch

        return [torch.arange(len(indices))]

    def domain_names(self, split: Split, n_episodes: int) -> list[str]:
        """Return the dataset that each of the first episodes is from, for a mixture; none for other data.

        Args:
            split: ``train``, ``val`` or ``test``.
            n_episodes: How many episodes, from number 0.
        """
        return []

    def class_names(self, split: Split, n_episodes: int) -> list[tuple[str, ...]]:
        """Return the classes of each of the first episodes, in the order of their labels; none where they have no name.

        Args:
            split: ``train``, ``val`` or ``test``.
            n_episodes: How many episodes, from number 0.
        """
        return []

    @abstractmethod
    def episodes(self, split: Split, indices: Tensor) -> Episode:
        """Return the episodes at ``indices`` (T,) int64, as a batch with leading T.

        Args:
            split: ``train``, ``val`` or ``test``.
            indices: Numbers of the episodes (T,), int64.
        """

    @abstractmethod
    def bank_hash(self, split: Split, n_episodes: int) -> str:
        """Return the SHA-256 (hex) over which examples make up the first episodes of a split, in order, with labels.

        Args:
            split: ``train``, ``val`` or ``test``.
            n_episodes: How many episodes, from number 0.
        """


class SourceOver(TaskSource):
    """The episodes of another source, of which a subclass changes something. Shapes, datasets and hash are its own."""

    def __init__(self, source: TaskSource) -> None:
        """Take the source."""
        self._source = source

    @property
    def varies(self) -> bool:  # type: ignore[override]
        """Whether episodes of the source differ in shape."""
        return self._source.varies

    def alike(self, split: Split, indices: Tensor) -> list[Tensor]:
        """Return the groups of the source: places (n,) among ``indices`` (T,) of episodes of one shape."""
        return self._source.alike(split, indices)

    def domain_names(self, split: Split, n_episodes: int) -> list[str]:
        """Return the datasets of the source's episodes."""
        return self._source.domain_names(split, n_episodes)

    def class_names(self, split: Split, n_episodes: int) -> list[tuple[str, ...]]:
        """Return the classes of the source's episodes."""
        return self._source.class_names(split, n_episodes)

    def bank_hash(self, split: Split, n_episodes: int) -> str:
        """Return the hash of the source, which says which examples the episodes are made of."""
        return self._source.bank_hash(split, n_episodes)
