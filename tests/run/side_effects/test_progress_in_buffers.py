"""A buffer that set_progress assigns is what training computes with, in each step and in each of several runs."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from pure_tasks import Mapped, evaluator, step
from torch import Tensor

from metaexp.core.errors import ConfigError
from metaexp.core.types import Episode
from metaexp.run.side_effects.buffers import set_progress
from metaexp.run.together.gradient import StackedGradient


class Annealed(Mapped):
    """The loss is scaled by a buffer that set_progress assigns, or writes to in place."""

    def __init__(self, in_place: bool = False) -> None:
        super().__init__()
        self.in_place = in_place
        self.register_buffer("rate", torch.ones(()))

    def set_progress(self, step: int, total: int) -> None:
        if self.in_place:
            self.rate.fill_(1.0 / (step + 1))
        else:
            self.rate = torch.tensor(1.0 / (step + 1))

    def meta_loss(self, episode: Episode) -> Tensor:
        return super().meta_loss(episode).detach() * 0.0 + self.rate + 0.0 * self.w.sum()


@pytest.mark.parametrize("in_place", [False, True])
def test_each_step_has_its_own_value(tiny: ModuleType, in_place: bool) -> None:
    algorithm = Annealed(in_place)
    made, rate = step(tiny, algorithm), algorithm.rate
    losses = [float(made.run(number).losses[0]) for number in range(3)]
    assert losses == pytest.approx([1.0, 1 / 2, 1 / 3])
    assert algorithm.rate is rate
    evaluator(tiny).validate(algorithm, 3, lambda _: None)
    assert float(algorithm.rate) == pytest.approx(1 / 3)


def test_each_of_several_runs_has_it(tiny: ModuleType) -> None:
    steps = [step(tiny, Annealed()) for _ in range(3)]
    gradient = StackedGradient(steps)
    gradient.check(0)
    for number in range(3):
        found = [float(partial.losses[0]) for partial in gradient.compute(number)]
        assert found == pytest.approx([1 / (number + 1)] * 3)


@pytest.mark.parametrize(("new", "said"), [(torch.ones(2), r"the shape \(2,\)"), (None, "None")])
def test_a_buffer_that_gets_another_shape_is_refused(new: Tensor | None, said: str) -> None:
    class Odd(Mapped):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("rate", torch.ones(()))

        def set_progress(self, step: int, total: int) -> None:
            if step > 0:
                self.rate = new

    algorithm = Odd()
    set_progress(algorithm, 0, 10)
    with pytest.raises(
        ConfigError, match=rf"set_progress of Odd gives the buffer rate {said}, where it had the shape \(\)"
    ):
        set_progress(algorithm, 1, 10)


def test_one_that_is_given_to_a_single_object_is_called() -> None:
    told: list[tuple[int, int]] = []
    plain, changed = Mapped(), Mapped()
    changed.set_progress = lambda step, total: told.append((step, total))  # type: ignore[method-assign]
    set_progress(plain, 3, 10)
    assert told == []
    set_progress(changed, 3, 10)
    assert told == [(3, 10)]
