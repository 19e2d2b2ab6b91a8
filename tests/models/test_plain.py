"""Plain modules of torch used as networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from metaexp.algorithms.maml import MAML
from metaexp.core.errors import ConfigError
from metaexp.core.types import Examples
from metaexp.models.base import Network
from metaexp.models.mlp import MLP
from metaexp.models.plain import as_network


class Plain(nn.Module):
    def __init__(self, n_outputs: int | None = 3) -> None:
        super().__init__()
        self.body = nn.Linear(4, 5)
        self.head = nn.Identity() if n_outputs is None else nn.Linear(5, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(x))
        return out


def test_a_plain_module_is_a_network_with_its_own_outputs_and_names() -> None:
    module = Plain()
    before, names, x = module.state_dict(), list(module.state_dict()), torch.randn(2, 4)
    expected = module(x)
    network = as_network(module, 3)
    assert isinstance(network, Network)
    assert network is module
    assert torch.equal(network(x), expected)
    assert list(network.state_dict()) == names
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not torch.equal(as_network(Plain(), 3)(x), expected), "another one gives something else"


def test_without_outputs_it_gives_features() -> None:
    network = as_network(Plain(None), None)
    x = torch.randn(2, 4)
    assert torch.equal(network.features(x), network(x))
    assert network.feature_shape((4,)) == (5,)


def test_with_outputs_it_has_no_features() -> None:
    with pytest.raises(ConfigError, match=r"Plain is a plain nn\.Module, which has no features apart from its outputs"):
        as_network(Plain(), 3).features(torch.randn(2, 4))


def test_one_class_serves_both() -> None:
    scores, features = as_network(Plain(), 3), as_network(Plain(None), None)
    assert features.features(torch.randn(1, 4)).shape == (1, 5)
    with pytest.raises(ConfigError):
        scores.features(torch.randn(1, 4))
    assert not isinstance(Plain(), Network)


def test_a_network_stays_what_it_is() -> None:
    network = MLP((4,), 3, [5], False, False, 1e-3, "default", 0.01)
    assert type(as_network(network, 3)) is MLP


def test_an_algorithm_adapts_one() -> None:
    algorithm = MAML(as_network(Plain(), 3), 0.1, 1, 1, True, "mean", "all", "transductive")
    support = Examples(torch.randn(3, 4), torch.arange(3), 3)
    adapted = algorithm.adapt(support)
    assert set(adapted.params) == {"body.weight", "body.bias", "head.weight", "head.bias"}
    assert not torch.equal(adapted.params["body.weight"], algorithm.model.body.weight)
