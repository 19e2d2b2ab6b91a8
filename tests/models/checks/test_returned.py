"""What a network returns: one tensor of values, or a message that names what else it was."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import pytest
from torch import Tensor, nn

from metaexp.core.errors import ConfigError
from metaexp.models.base import Network
from metaexp.models.checks.inspection import prepare_network
from metaexp.models.plain import as_network

SHAPE = (6,)


class Net(nn.Module):
    """Two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 4)
        self.head: nn.Module = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.first(x).relu())
        return out


class Parts(NamedTuple):
    scores: Tensor
    extra: Tensor | None


class Returning(nn.Module):
    """A layer, and a change of what it returns."""

    def __init__(self, layer: nn.Module, change: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.layer, self.change = layer, change

    def forward(self, x: Tensor) -> object:
        return self.change(self.layer(x))


RETURNED: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "tuple": (lambda x: (x, x[:1]), r"a value of the type tuple with [0] (3, 3), [1] (1, 3) in training mode"),
    "list": (lambda x: [x], r"a value of the type list with [0] (3, 3)"),
    "dict": (lambda x: {"logits": x}, "a value of the type dict with 'logits' (3, 3)"),
    "named": (lambda x: Parts(x, None), "Parts with scores (3, 3), extra NoneType"),
    "many": (lambda x: [x] * 5, "[3] (3, 3), ... in"),
    "None": (lambda x: None, "None in training mode, for a batch of the shape (3, 6)."),
    "numpy": (lambda x: x.detach().numpy(), "a value of the type numpy.ndarray in training mode"),
    "whole numbers": (lambda x: x.argmax(1, keepdim=True), "a tensor of int64"),
    "one number": (lambda x: x.mean(), "a tensor of the shape () in"),
    "a number each": (lambda x: x[:, 0], "a tensor of the shape (3,) in"),
    "examples last": (lambda x: x[:2], "a tensor of the shape (2, 3) in"),
}


@pytest.mark.parametrize("n_outputs", [3, None])
@pytest.mark.parametrize(("change", "message"), RETURNED.values(), ids=RETURNED)
def test_what_is_not_a_tensor_of_values_is_refused_with_its_parts(
    change: Callable[[Tensor], object], message: str, n_outputs: int | None
) -> None:
    network = as_network(Net(), n_outputs)
    prepare_network(network, SHAPE, n_outputs)  # which is allowed as it is
    network.head = Returning(network.head, change)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        prepare_network(network, SHAPE, n_outputs)
    assert str(caught.value).startswith("model: Net.forward returns ")
    assert "one tensor of floats: scores (B, n_outputs), or features where n_outputs is None." in str(caught.value)


def test_what_only_one_mode_returns_is_refused() -> None:
    """As GoogLeNet of torchvision, which gives the scores of its side branches in training."""
    network = as_network(Net(), 3)
    head = network.head
    network.head = Returning(head, lambda x: x if head.training else (x, x))
    with pytest.raises(ConfigError, match=re.escape("tuple with [0] (3, 3), [1] (3, 3) in evaluation mode")):
        prepare_network(network, SHAPE, 3)


def test_an_error_in_the_code_of_a_network_says_what_it_was_called_with() -> None:
    def fail(x: Tensor) -> Tensor:
        raise AssertionError("Expected 224")

    network = as_network(Net(), 3)
    network.head = Returning(network.head, fail)
    with pytest.raises(AssertionError, match="Expected 224") as caught:
        prepare_network(network, SHAPE, 3)
    assert caught.value.__notes__ == ["metaexp called Net with random examples of the shape (3, 6)."]


class TwoFeatures(Network):
    """A network with features of two parts, and a head that takes one."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        self.first, self.head, self.both = nn.Linear(6, 4), nn.Linear(4, 3), both

    def features(self, x: Tensor) -> Tensor:
        out = self.first(x)
        return (out, out) if self.both else out  # type: ignore[return-value]


def test_features_of_two_parts_are_refused_before_the_head_is_called() -> None:
    prepare_network(TwoFeatures(both=False), SHAPE, 3)
    with pytest.raises(
        ConfigError, match=re.escape("TwoFeatures.features returns a value of the type tuple with [0] (3, 4)")
    ):
        prepare_network(TwoFeatures(both=True), SHAPE, 3)
