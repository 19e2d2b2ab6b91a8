"""An algorithm of one number whose tasks do what they are told, and what trains and tests it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor, nn

from metaexp.core.algorithm import Algorithm
from metaexp.core.optim import Constant, NoClip
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Examples
from metaexp.machine.device import Compute
from metaexp.run.evaluation.evaluator import Evaluator
from metaexp.run.step import MetaStep

CPU = Compute(torch.device("cpu"), "test", "float32", 1, True, None)


class Pure(Algorithm):
    """y = w x plus the mean of the support's targets. ``act`` is what an algorithm must not do in a task."""

    batch_norm = "none"
    vectorises = False

    def __init__(self, act: Callable[[Pure, Examples], object] | None = None) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))
        self.offset = nn.Parameter(torch.zeros(1))
        self.layer = nn.Dropout(0.1)
        self.act = act
        self.before: Tensor | None = None
        self.n_tasks = 0

    def adapt(self, support: Examples) -> Tensor:
        found = self.w + support.y.mean()
        extra = None if self.act is None else self.act(self, support)
        return found if extra is None else found + extra

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        return adapted * x + self.offset


class Mapped(Pure):
    """The same for several tasks at once."""

    vectorises = True


def step(tiny: ModuleType, algorithm: Algorithm) -> MetaStep:
    source = tiny.LoadedLines(None, "1").tasks(TaskShape(0, 3, 6), 7)
    optimizer = torch.optim.SGD(algorithm.parameters(), lr=0.1)
    return MetaStep(algorithm, source, optimizer, Constant(), NoClip(), CPU, 4, 100, 0)


def evaluator(tiny: ModuleType) -> Evaluator:
    return Evaluator(tiny.LoadedLines(None, "1").tasks(TaskShape(0, 3, 6), 5), 5, CPU, 4)
