"""A loss of own code that is least for answers without knowledge is warned of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from metaexp.core.algorithm import Algorithm
from metaexp.core.types import Episode, Examples
from metaexp.run.side_effects.loss_direction import warn_of_loss_direction


class WithLoss(Algorithm):
    batch_norm = "none"

    def __init__(self, compute: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.compute = compute
        self.calls = 0

    def adapt(self, support: Examples) -> Tensor:
        return support.x

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        return x

    def loss(self, scores: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return self.compute(scores, y)


class Plain(WithLoss):
    loss = Algorithm.loss  # type: ignore[assignment]


def task(n_way: int) -> Episode:
    y = torch.arange(6) % n_way if n_way else torch.linspace(-1, 2, 6).unsqueeze(-1)
    examples = Examples(torch.zeros(1, 6, 1), y.unsqueeze(0), n_way)
    return Episode(examples, examples)


WRONG: list[tuple[int, Callable[[Tensor, Tensor], Tensor]]] = [
    (0, lambda s, y: -functional.mse_loss(s, y)),
    (0, lambda s, y: (s - y.squeeze(-1)).square().mean()),
    (0, lambda s, y: (s - y.squeeze(-1)).abs().mean()),
    (3, lambda s, y: -functional.cross_entropy(s, y)),
    (3, lambda s, y: functional.nll_loss(-s.log_softmax(-1), y)),
]
RIGHT: list[tuple[int, Callable[[Tensor, Tensor], Tensor]]] = [
    (0, functional.mse_loss),
    (0, lambda s, y: (s + torch.randn_like(s) * 0.01 - y).abs().mean()),
    (3, functional.cross_entropy),
    (3, lambda s, y: functional.cross_entropy(s, y, label_smoothing=0.1)),
    (3, lambda s, y: (s - functional.one_hot(y, 3)).square().mean()),
    (3, functional.multi_margin_loss),
    (0, lambda s, y: s[:, 5].mean()),
]


@pytest.mark.parametrize(("n_way", "compute"), WRONG)
def test_a_loss_that_leads_away_from_the_right_answers_is_warned_of(
    n_way: int, compute: Callable[[Tensor, Tensor], Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_loss_direction(WithLoss(compute), lambda: task(n_way))
    assert "training leads away from the right ones" in caplog.text


@pytest.mark.parametrize(("n_way", "compute"), RIGHT)
def test_nothing_is_said_of_other_losses_and_nothing_is_changed(
    n_way: int, compute: Callable[[Tensor, Tensor], Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    algorithm, before = WithLoss(compute), torch.get_rng_state()
    warn_of_loss_direction(algorithm, lambda: task(n_way))
    assert not caplog.records
    assert algorithm.calls == 0
    assert torch.equal(torch.get_rng_state(), before)


def test_the_losses_of_metaexp_are_not_tried() -> None:
    asked = []

    def counted_task() -> Episode:
        asked.append(1)
        return task(0)

    warn_of_loss_direction(Plain(functional.mse_loss), counted_task)
    assert not asked
    warn_of_loss_direction(WithLoss(functional.mse_loss), counted_task)
    assert asked
