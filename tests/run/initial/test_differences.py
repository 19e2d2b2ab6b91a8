"""A continued run says what depended on the number of steps, wherever set_progress keeps it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from pure_tasks import Mapped, step

from metaexp.core.algorithm import Algorithm
from metaexp.run.initial.differences import _algorithm_depends

TABLE = [0.9**step for step in range(1000)]
_outside: dict[str, float] = {}


class Moving(Mapped):
    """What set_progress does is given."""

    def __init__(self, act: Callable[[Moving, int, int], object]) -> None:
        super().__init__()
        self.move, self.beta = act, 0.0
        self.register_buffer("rate", torch.ones(2))

    def set_progress(self, step: int, total: int) -> None:
        self.move(self, step, total)


def assign(algorithm: Moving, step: int, total: int) -> None:
    algorithm.rate = torch.full((2,), step / total)


KEPT: dict[str, tuple[Callable[[Moving, int, int], object], str]] = {
    "an attribute": (lambda algorithm, step, total: setattr(algorithm, "beta", step / total), "depends"),
    "one step": (lambda algorithm, step, total: setattr(algorithm, "beta", float(step == total // 3)), "depends"),
    "a layer": (lambda algorithm, step, total: setattr(algorithm.layer, "p", step / total), "depends"),
    "a list": (lambda algorithm, step, total: setattr(algorithm, "beta", [torch.ones(1) * step / total]), "depends"),
    "a buffer": (assign, "depends"),
    "a buffer in place": (lambda algorithm, step, total: algorithm.rate.fill_(step / total), "depends"),
    "not a number": (lambda algorithm, step, _: setattr(algorithm, "beta", [float("nan"), step]), ""),
    "steps alone": (lambda algorithm, step, _: setattr(algorithm, "beta", 0.9**step), ""),
    "steps alone, in a buffer": (lambda algorithm, step, _: algorithm.rate.fill_(step), ""),
    "elsewhere": (lambda _, step, total: _outside.update(beta=step / total), "may depend"),
    "an error after many steps": (lambda algorithm, step, _: setattr(algorithm, "beta", TABLE[step]), "may depend"),
}


@pytest.mark.parametrize(("act", "found"), KEPT.values(), ids=KEPT)
@pytest.mark.parametrize("steps", [12, 150])
def test_what_depends_on_the_number_of_steps_is_found(
    act: Callable[[Moving, int, int], object], found: str, steps: int
) -> None:
    assert _algorithm_depends(Moving(act), steps, steps, 2 * steps) == found


def test_an_algorithm_without_progress_does_not_depend() -> None:
    assert type(Mapped()).set_progress is Algorithm.set_progress
    assert _algorithm_depends(Mapped(), 12, 12, 24) == ""


def test_training_computes_with_the_buffers_that_were_looked_at(tiny: ModuleType) -> None:
    algorithm = Moving(assign)
    made = step(tiny, algorithm)
    assert _algorithm_depends(algorithm, 12, 12, 24) == "depends"
    assert made.buffers["rate"] is algorithm.rate
    assert torch.equal(algorithm.rate, torch.full((2,), 0.5))
