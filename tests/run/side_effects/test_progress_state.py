"""set_progress, schedules and optimisers that keep what no checkpoint holds, or are not functions of the step."""

from __future__ import annotations

import random
from types import ModuleType

import pytest
import torch
from pure_tasks import Mapped, step
from torch import nn

from metaexp.core.errors import ConfigError
from metaexp.core.optim import Schedule, checked_factor
from metaexp.run.optimizer import refuse_unwritable
from metaexp.run.side_effects.schedule_ahead import check_schedule

AGAIN = "when it is called again with the same step"


class Kept(Mapped):
    """Keeps the value of the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.beta = 2.0
        self.history: list[int] = []
        self.register_buffer("rate", torch.ones(()))
        self.inner = nn.Identity()


class Multiplied(Kept):
    def set_progress(self, step: int, total: int) -> None:
        if step > 0:
            self.beta *= 0.8


class Listed(Kept):
    def set_progress(self, step: int, total: int) -> None:
        self.history.append(step)


class InALayer(Kept):
    def set_progress(self, step: int, total: int) -> None:
        self.inner.count = getattr(self.inner, "count", 0) + 1  # type: ignore[assignment]


class Computed(Kept):
    """What is meant: a function of the step, and buffers and weights, which checkpoints hold."""

    def set_progress(self, step: int, total: int) -> None:
        self.beta = 2.0 * 0.8**step
        self.history = [step]
        self.rate.mul_(0.9)


@pytest.mark.parametrize(("algorithm", "name"), [(Multiplied, "beta"), (Listed, "history"), (InALayer, "inner.count")])
def test_what_set_progress_keeps_is_named_once(
    tiny: ModuleType, caplog: pytest.LogCaptureFixture, algorithm: type[Kept], name: str
) -> None:
    made = step(tiny, algorithm())
    for number in range(4):
        made.run(number)
    assert [
        record.getMessage().count(f"changes {name} {AGAIN}")
        for record in caplog.records
        if AGAIN in record.getMessage()
    ] == [1]


def test_a_function_of_the_step_is_not_warned_of_and_is_not_called_on_the_algorithm_again(
    tiny: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    algorithm = Computed()
    made = step(tiny, algorithm)
    for number in range(3):
        made.run(number)
    assert AGAIN not in caplog.text
    assert float(algorithm.rate) == pytest.approx(0.9**3)


class Drawn(Schedule):
    def __init__(self, of_torch: bool) -> None:
        self.of_torch = of_torch

    def factor(self, step: int, total_steps: int) -> float:
        return float(torch.rand(())) if self.of_torch else random.random()


@pytest.mark.parametrize("of_torch", [False, True])
def test_a_schedule_that_draws_unseeded_numbers_is_warned_of(caplog: pytest.LogCaptureFixture, of_torch: bool) -> None:
    before = torch.get_rng_state()
    check_schedule(Drawn(of_torch), 10)
    assert ("cannot be repeated" in caplog.text) is not of_torch
    assert torch.equal(torch.get_rng_state(), before)


class Given(Schedule):
    def __init__(self, value: object) -> None:
        self.value = value

    def factor(self, step: int, total_steps: int) -> float:
        return self.value  # type: ignore[return-value]


@pytest.mark.parametrize("value", [None, -0.5, float("nan"), float("inf"), torch.tensor(0.5), "1"])
def test_a_factor_that_is_not_a_finite_number_of_at_least_0_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="schedule: Given gives the factor .* for step 3"):
        checked_factor(Given(value), 3, 10)
    assert [checked_factor(Given(good), 3, 10) for good in (0, 0.5, 2)] == [0.0, 0.5, 2.0]


def test_an_optimiser_that_begins_with_state_of_no_parameter_is_refused() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1)
    refuse_unwritable(optimizer)
    optimizer.state["n"] = 0
    with pytest.raises(ConfigError, match="SGD keeps n in its state"):
        refuse_unwritable(optimizer)
