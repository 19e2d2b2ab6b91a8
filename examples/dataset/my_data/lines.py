"""Straight lines through the origin: a family of regression tasks."""

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from metaexp.core.fields import PositiveFloat
from metaexp.data.base import Dataset, MetaDataset, Progress
from metaexp.data.regression.device_exact_math import uniform
from metaexp.data.regression.tasks import FunctionFamily


class Lines(Dataset):
    """Straight lines y = slope * x, with slopes up to ``steepest`` either way."""

    kind = "regression"

    def __init__(self, steepest: PositiveFloat) -> None:
        self.steepest = steepest

    def capacity(self) -> None:
        """There are endless tasks."""

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        """Nothing is read: tasks are computed when asked for."""
        return LineFamily(self.steepest)


class Slopes(NamedTuple):
    """What distinguishes tasks."""

    slope: Tensor  # (T,)


class LineFamily(FunctionFamily):
    """Lines through the origin."""

    words_per_task = 1  # random numbers that decide a task
    words_per_example = 1  # and each of its examples

    def __init__(self, steepest: float) -> None:
        super().__init__("lines", (1,), 1, {"steepest": steepest})
        self.steepest = steepest

    def parameters(self, words: Tensor) -> Slopes:
        """One slope for each task, from words (T, 1)."""
        return Slopes(uniform(words[:, 0], -self.steepest, self.steepest))

    def function(self, parameters: Slopes, at: Tensor) -> Tensor:
        """The values (T, P) at places (T, P)."""
        return parameters.slope[:, None] * at  # (T, P)

    def examples(self, parameters: Slopes, words: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (T, S, 1) and targets (T, S, 1), from words (T, S, 1)."""
        x = uniform(words[..., 0], -1.0, 1.0)  # (T, S)
        return x.unsqueeze(-1), self.function(parameters, x).unsqueeze(-1)
