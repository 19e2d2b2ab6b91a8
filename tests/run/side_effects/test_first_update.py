"""Schedules of own code are asked for all factors ahead, and a step that changes no weight is warned of."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from metaexp.core.errors import ConfigError
from metaexp.core.optim import Clip, Cosine, NoClip, Schedule
from metaexp.run.side_effects.idle_step import Update, apply_clip
from metaexp.run.side_effects.schedule_ahead import check_schedule


class Own(Schedule):
    def __init__(self, compute: Callable[[int, int], Any]) -> None:
        self.compute = compute
        self.asked: list[int] = []

    def factor(self, step: int, total_steps: int) -> float:
        self.asked.append(step)
        factor: float = self.compute(step, total_steps)
        return factor


TABLE = [1.0, 0.5, 0.25]


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (
            lambda step, _: TABLE[step],
            r"factor\(step=3, total_steps=5\) of Own raises IndexError in .*first_update.py",
        ),
        (lambda step, _: float("nan") if step == 4 else 1.0, "gives the factor nan for step 4"),
        (lambda step, _: 1.0 - step, "gives the factor -1.0 for step 2"),
        (lambda step: 1.0, "of Own raises TypeError"),
    ],
)
def test_a_schedule_that_fails_at_a_later_step_is_refused_before_the_first(
    compute: Callable[..., Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_schedule(Own(compute), 5)


def test_a_good_schedule_is_left_alone_and_asked_for_no_step_beyond_the_last(caplog: pytest.LogCaptureFixture) -> None:
    schedule = Own(lambda step, _: TABLE[step])
    check_schedule(schedule, 3)
    check_schedule(Cosine(0.1, 2), 3)
    check_schedule(Own(lambda step, total: 1 / total), 0)
    assert schedule.asked == []
    assert not caplog.records


class Uncopied(Own):
    def __deepcopy__(self, memo: Any) -> Uncopied:
        raise TypeError("cannot be copied")


def test_a_schedule_that_cannot_be_copied_is_not_tried() -> None:
    check_schedule(Uncopied(lambda step, _: -1.0), 3)
    with pytest.raises(TypeError):
        copy.deepcopy(Uncopied(lambda step, _: -1.0))


def test_a_schedule_of_zeros_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    check_schedule(Own(lambda step, total: step // total), 5)
    assert "schedule Own gives the factor 0 for all 5 steps, so nothing is trained" in caplog.text
    caplog.clear()
    check_schedule(Own(lambda step, total: step / total), 5)
    assert not caplog.records


class Idle(torch.optim.SGD):
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        pass


class NoGradients(Clip):
    def apply(self, module: nn.Module) -> None:
        for parameter in module.parameters():
            parameter.grad = None


def updated(kind: type[torch.optim.SGD], clip: Clip, rates: list[float]) -> None:
    layer = nn.Linear(1, 1)
    optimizer = kind(layer.parameters(), lr=1.0)
    update = Update(optimizer, list(layer.parameters()), clip)
    for rate in rates:
        for parameter in layer.parameters():
            parameter.grad = torch.ones_like(parameter)
        clip.apply(layer)
        optimizer.param_groups[0]["lr"] = rate
        update.take(torch.tensor(2.0))


@pytest.mark.parametrize(
    ("kind", "clip", "rates"),
    [(Idle, NoClip(), [0.5, 0.5]), (torch.optim.SGD, NoGradients(), [0.5]), (torch.optim.SGD, NoClip(), [0.0, 1e-30])],
)
def test_a_step_that_changes_no_weight_is_warned_of_once(
    kind: type[torch.optim.SGD], clip: Clip, rates: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    updated(kind, clip, rates)
    assert len(caplog.records) == 1
    assert f"changes no weight: optimizer {kind.__name__} with the learning rate {rates[-1]:g}" in caplog.text
    assert f"after clip {type(clip).__name__}; the norm of the gradient before it is 2" in caplog.text


def test_nothing_is_said_of_a_rate_of_0_at_first_and_of_a_step_that_trains(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        updated(torch.optim.SGD, NoClip(), [0.0, 0.5, 0.0])
        updated(torch.optim.SGD, NoClip(), [0.0])
    assert not caplog.records


def passing_on(step: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that takes any arguments, as one that measures time does."""

    @functools.wraps(step)
    def called(*given: Any, **named: Any) -> Any:
        return step(*given, **named)

    return called


class AsksForClosure(torch.optim.SGD):
    @passing_on
    def step(self, closure: Any) -> Any:  # type: ignore[override]
        return super().step(closure)


class Wrong(torch.optim.SGD):
    @passing_on
    def step(self, closure: Any = None) -> Any:
        return len(closure)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_a_step_that_hides_that_it_needs_a_closure_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"optimizer=\S*\.AsksForClosure computes the loss several times in a step"):
        updated(AsksForClosure, NoClip(), [rate])
    with pytest.raises(TypeError, match="has no len"):
        updated(Wrong, NoClip(), [rate])


class Returning(Clip):
    def __init__(self, compute: Callable[[nn.Module], Any]) -> None:
        self.compute = compute

    def apply(self, module: nn.Module) -> None:
        returned: None = self.compute(module)
        return returned


@pytest.mark.parametrize(
    ("compute", "kind"),
    [
        (lambda module: {name: p.grad for name, p in module.named_parameters()}, "dict"),
        (lambda module: [p.grad for p in module.parameters()], "list"),
        (lambda module: (p.grad.clamp_(-1, 1) for p in module.parameters()), "generator"),
    ],
)
def test_a_clip_that_returns_new_gradients_is_refused(compute: Callable[[nn.Module], Any], kind: str) -> None:
    with pytest.raises(ConfigError, match=f"clip: apply of Returning returned a {kind}, which nobody uses"):
        apply_clip(Returning(compute), nn.Linear(1, 1))


def test_a_clip_may_return_nothing_or_the_norm() -> None:
    layer = nn.Linear(1, 1)
    for parameter in layer.parameters():
        parameter.grad = torch.full_like(parameter, 8.0)
    apply_clip(Returning(lambda module: nn.utils.clip_grad_norm_(module.parameters(), 1.0)), layer)
    apply_clip(NoClip(), layer)
    assert layer.bias.grad is not None
    assert abs(layer.bias.grad.item()) < 1.0


class OwnRate(torch.optim.SGD):
    """It may compute its learning rate by itself."""


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, OwnRate])
@pytest.mark.parametrize("rates", [(0.0, 0.0), (0.0, 0.1)])
def test_a_learning_rate_of_0_is_warned_of_before_the_first_step(
    kind: type[torch.optim.SGD], rates: tuple[float, float], caplog: pytest.LogCaptureFixture
) -> None:
    parameters = [nn.Parameter(torch.ones(2)) for _ in rates]
    groups = [{"params": [one], "lr": rate} for one, rate in zip(parameters, rates, strict=True)]
    Update(kind(groups, lr=0.1), parameters, NoClip())
    is_warned = "optimizer.lr=0: no step of training changes a weight" in caplog.text
    assert is_warned is (kind is not OwnRate and rates == (0.0, 0.0))
