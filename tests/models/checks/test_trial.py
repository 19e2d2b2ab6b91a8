"""What a network does when it is called: a fault is refused and named, and its state is as before."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from metaexp.core.errors import ConfigError
from metaexp.models.batch_norm import BatchNorm
from metaexp.models.checks.inspection import maps_over_tasks, prepare_network
from metaexp.models.checks.trial import refuse_lazy
from metaexp.models.nodes.mapped_conv import Conv2d
from metaexp.models.plain import as_network

SHAPE = (6,)
Act = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """Two layers, and something between them."""

    def __init__(self, act: Act | None = None, layer: nn.Module | None = None) -> None:
        super().__init__()
        self.first = nn.Linear(6, 4)
        self.layer = layer or nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)
        self.act = act
        self.count = 0
        self.generator = torch.Generator().manual_seed(0)
        self.numpy = np.random.default_rng(0)
        self.register_buffer("table", torch.zeros(0, 4))
        self.register_buffer("lazy", None)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(self.first(x).relu())
        out: Tensor = self.head(x if self.act is None else self.act(self, x))
        return out


def prepared(act: Act | None = None, layer: nn.Module | None = None) -> nn.Module:
    network = as_network(Net(act, layer), 3)
    prepare_network(network, SHAPE, 3)
    return network


def count(network: Net, x: Tensor) -> Tensor:
    network.count += 1
    return x * network.count


def freeze(network: Net, x: Tensor) -> Tensor:
    network.first.requires_grad_(False)
    return x


def limit(network: Net, x: Tensor) -> Tensor:
    with torch.no_grad():
        network.first.weight.renorm_(2, 0, 0.1)
    return x


def another(network: Net, x: Tensor) -> Tensor:
    network.first.bias = nn.Parameter(network.first.bias * 2)
    return x


AGAIN = "Net gives something else when it is called with the same examples again"
FAULTS: dict[str, tuple[Act, str]] = {
    "counts": (count, AGAIN),
    "a generator": (lambda net, x: x + torch.rand((), generator=net.generator), AGAIN),
    "of numpy": (lambda net, x: x + float(net.numpy.random()), AGAIN),
    "freezes": (freeze, "a call of Net changes first.weight, first.bias"),
    "limits weights": (limit, "a call of Net changes first.weight,"),
    "replaces a weight": (another, "a call of Net changes first.bias,"),
    "the batch": (lambda _, x: x - x.mean(0), "what Net gives for an example depends on the others in its batch"),
}


@pytest.mark.parametrize(("act", "message"), FAULTS.values(), ids=FAULTS)
def test_the_fault_that_a_network_has_is_named(act: Act, message: str) -> None:
    with pytest.raises(ConfigError, match=f"model: {message}"):
        prepared(act)


@pytest.mark.parametrize("training", [True, False])
def test_a_fault_of_one_mode_is_found(training: bool) -> None:
    def act(network: Net, x: Tensor) -> Tensor:
        return count(network, x) if network.training is training else x

    with pytest.raises(ConfigError, match=AGAIN):
        prepared(act)


def test_an_embedding_that_limits_its_rows_is_refused() -> None:
    class Shifted(nn.Module):
        def __init__(self, most: float | None) -> None:
            super().__init__()
            self.rows = nn.Embedding(2, 4, max_norm=most)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = x + self.rows(torch.zeros((), dtype=torch.int64))
            return out

    prepared(layer=Shifted(None))
    with pytest.raises(ConfigError, match=r"a call of Net changes layer\.rows\.weight.*without max_norm"):
        prepared(layer=Shifted(0.01))


def grow(network: Net, x: Tensor) -> Tensor:
    if len(network.table) < len(x):
        network.table = torch.arange(len(x))[:, None].expand(-1, 4) * 0.1
    return x + network.table[: len(x)]


def make_once(network: Net, x: Tensor) -> Tensor:
    if network.lazy is None:
        network.lazy = torch.ones(4)
    return x + network.lazy


def restore(network: Net, x: Tensor) -> Tensor:
    weight = network.first.weight
    kept = weight.data.clone()
    weight.data = 2 * kept
    out = x + weight.sum().detach()
    weight.data = kept
    return out


@pytest.mark.parametrize("act", [grow, make_once, restore, lambda _, x: x + float(np.random.rand())])
def test_what_a_call_may_do_is_allowed_and_undone(act: Act) -> None:
    """numpy's own generator is warned of in training, and refused in tests."""
    network = prepared(act)
    assert network.get_buffer("table").shape == (0, 4)
    assert network._buffers["lazy"] is None
    assert network(torch.ones(7, 6)).shape == (7, 3)


def test_buffers_that_calls_write_into_come_back() -> None:
    def add(network: Net, x: Tensor) -> Tensor:
        network.statistics.add_(1.0)  # type: ignore[operator]
        return x + network.statistics  # type: ignore[operator]

    network = as_network(Net(add), 3)
    network.register_buffer("statistics", torch.zeros(4))
    kept = network.get_buffer("statistics")
    prepare_network(network, SHAPE, 3)
    assert network.get_buffer("statistics") is kept
    assert not kept.any()
    network(torch.ones(2, 6))
    assert kept.all()


@pytest.mark.parametrize(
    "wrap",
    [parametrizations.spectral_norm, parametrizations.weight_norm, parametrizations.orthogonal, nn.utils.spectral_norm],
)
def test_normalised_weights_are_allowed(wrap: Callable[[nn.Module], nn.Module]) -> None:
    network = prepared(layer=wrap(nn.Linear(4, 4)))
    x = torch.ones(5, 6)
    assert torch.allclose(network.eval()(x), network(x))


def test_what_can_be_mapped_with_one_weight_and_not_with_one_for_each_task_is_taken_one_by_one() -> None:
    """After the first inner step, each task has its own weights."""

    class Looks(nn.Module):
        def __init__(self, of_weight: bool) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(4))
            self.of_weight = of_weight

        def forward(self, x: Tensor) -> Tensor:
            big = bool(self.w.detach().sum() > 100) if self.of_weight else False
            return x if big else x * self.w

    assert maps_over_tasks(prepared(layer=Looks(False)))
    assert not maps_over_tasks(prepared(layer=Looks(True)))


def test_a_compiled_function_is_taken_one_task_at_a_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    compiled = torch.compile(torch.tanh, backend="eager")
    assert not maps_over_tasks(prepared(lambda _, x: compiled(x)))
    assert "tasks are taken one at a time" in caplog.text


class Images(nn.Module):
    """Lazy layers, and a layer that calls reach only where it is asked for."""

    def __init__(self, reaches_all: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten())
        self.side, self.head, self.reaches_all = nn.LazyLinear(2), nn.LazyLinear(3), reaches_all

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        out: Tensor = self.head(torch.cat([x, self.side(x)], 1) if self.reaches_all else x)
        return out


@pytest.mark.parametrize("n_outputs", [3, None])
def test_lazy_layers_get_their_size_and_first_weights_from_the_seed(n_outputs: int | None) -> None:
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        network = as_network(Images(), n_outputs)
        state = torch.get_rng_state()
        prepare_network(network, (1, 5, 5), n_outputs)
        assert torch.equal(torch.get_rng_state(), state)
        assert type(network.get_submodule("body.0")) is Conv2d
        assert isinstance(network.get_submodule("body.1"), BatchNorm)
        assert not network.get_buffer("body.1.running_mean").any()
        weights.append(network.get_parameter("head.weight"))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_lazy_layer_that_no_call_reaches_is_refused() -> None:
    with pytest.raises(ConfigError, match="model: layer side of Images is a LazyLinear whose size is not known"):
        prepare_network(as_network(Images(False), 3), (1, 5, 5), 3)
    with pytest.raises(ConfigError, match="algorithm: layer 0 of Sequential is a LazyConv1d"):
        refuse_lazy(nn.Sequential(nn.LazyConv1d(2, 1)), "algorithm")


def test_dropout_without_a_mode_is_not_a_state() -> None:
    assert prepared(lambda _, x: F.dropout(x, 0.5)) is not None
