"""A network whose scores are probabilities is warned of, whatever its weights, and others are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from metaexp.models.batch_norm import BatchNorm
from metaexp.models.checks.probabilities import warn_of_probabilities

SHAPE = (4,)


class Net(nn.Module):
    """A body with batch norm, a head that may begin at zero, and something after it, perhaps in one mode alone."""

    def __init__(
        self, last: Callable[[Tensor], Tensor], is_zero: bool = False, modes: tuple[bool, ...] = (True, False)
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), BatchNorm(8), nn.ReLU())
        self.head = nn.Linear(8, 3)
        self.last, self.modes = last, modes
        self.register_buffer("calls", torch.zeros(()))
        if is_zero:
            for parameter in self.head.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        scores: Tensor = self.head(self.body(x))
        return self.last(scores) if self.training in self.modes else scores


def raise_error(scores: Tensor) -> Tensor:
    raise ValueError(f"not with such weights: {scores.shape}")


SUMS, BETWEEN = "are probabilities: they sum to 1, as after softmax.", "lie between 0 and 1, as after sigmoid."
PROBABILITIES = {
    "softmax": (lambda scores: scores.softmax(-1), SUMS),
    "softmax with a temperature": (lambda scores: (scores / 100).softmax(-1), SUMS),
    "normalised": (lambda scores: scores.square() / scores.square().sum(-1, keepdim=True), SUMS),
    "sigmoid": (torch.sigmoid, BETWEEN),
    "clamp": (lambda scores: scores.clamp(0, 1), BETWEEN),
    "length": (lambda scores: nn.functional.normalize(scores.relu(), dim=-1), BETWEEN),
}
SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "as they are": lambda scores: scores,
    "log_softmax": lambda scores: scores.log_softmax(-1),
    "relu": torch.relu,
    "tanh": torch.tanh,
    "cosines": lambda scores: nn.functional.normalize(scores, dim=-1),
    "scaled probabilities": lambda scores: 10 * scores.softmax(-1),
    "constant": lambda scores: 0 * scores,
    "not a number": lambda scores: scores * torch.nan,
    "an error": raise_error,
}


def said(network: nn.Module, caplog: pytest.LogCaptureFixture) -> str:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(1)
    state, was_training = torch.get_rng_state(), network.training
    warn_of_probabilities(network, SHAPE)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training is was_training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    return caplog.text


@pytest.mark.parametrize(("last", "words"), PROBABILITIES.values(), ids=PROBABILITIES)
@pytest.mark.parametrize("is_zero", [False, True])
@pytest.mark.parametrize("is_training", [False, True])
def test_probabilities_are_warned_of(
    last: Callable[[Tensor], Tensor], words: str, is_zero: bool, is_training: bool, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    assert f"the scores of Net {words}" in said(Net(last, is_zero).train(is_training), caplog)


@pytest.mark.parametrize("last", SCORES.values(), ids=SCORES)
@pytest.mark.parametrize("is_zero", [False, True])
def test_nothing_is_said_of_scores(
    last: Callable[[Tensor], Tensor], is_zero: bool, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    assert said(Net(last, is_zero), caplog) == ""


@pytest.mark.parametrize("mode", [True, False])
def test_probabilities_in_one_mode_are_enough(mode: bool, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    text = said(Net(lambda scores: scores.softmax(-1), modes=(mode,)), caplog)
    assert ("in training mode" if mode else "in evaluation mode") in text
