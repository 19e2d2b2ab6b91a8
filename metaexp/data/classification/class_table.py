"""Where the classes of a split are, and what tasks need of a dataset."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from metaexp.core.shapes import Split
from metaexp.data.classification.preprocessing import Origin


class ClassTable(NamedTuple):
    """The classes of a split.

    Attributes:
        first: (n_classes,) int64, the row at which each begins in the examples.
        length: (n_classes,) int64, how many examples each has.
        n_classes: How many there are.
        smallest: Examples of the smallest class.
        equal: Whether all classes are that size.
        total: Examples of all classes.
    """

    first: Tensor
    length: Tensor
    n_classes: int
    smallest: int
    equal: bool
    total: int

    @classmethod
    def of(cls, first: list[int], length: list[int]) -> ClassTable:
        """Return the table of classes that begin at rows ``first`` and have ``length`` examples."""
        smallest = min(length)
        return cls(
            torch.tensor(first), torch.tensor(length), len(first), smallest, max(length) == smallest, sum(length)
        )

    def to(self, device: torch.device) -> ClassTable:
        """Return the same table on ``device``."""
        return self._replace(first=self.first.to(device), length=self.length.to(device))


class RotationDraw(NamedTuple):
    """Over what one of the four turns is drawn, and how many rows of the examples lie between turns of an example."""

    over: Literal["none", "per_class", "per_episode"]
    stride: int


class LabelledExamples(Protocol):
    """Examples by row, and the classes of each split: what tasks and batches are drawn from."""

    @property
    def origin(self) -> Origin:
        """Where the examples come from."""

    @property
    def device(self) -> torch.device:
        """Where the examples are."""

    def table(self, split: Split) -> ClassTable:
        """The classes of ``split``."""

    def rotation_draw(self, split: Split) -> RotationDraw:
        """Over what a turn is drawn in tasks of ``split``."""

    def classes_of(self, rows: Tensor) -> list[str]:
        """The class of each of ``rows`` (n,) int64."""

    def examples(self, rows: Tensor) -> Tensor:
        """The examples (..., C, H, W), or (..., L, D), float32, at ``rows`` (...) int64."""
