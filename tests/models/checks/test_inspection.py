"""Networks written with torch's own layers: converted, taken one task at a time, or refused."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaexp.algorithms.maml import MAML
from metaexp.algorithms.meta_sgd import MetaSGD
from metaexp.algorithms.proto_net import ProtoNet
from metaexp.algorithms.reptile import Reptile
from metaexp.core.errors import ConfigError
from metaexp.core.over_tasks import over_tasks
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.models.base import Network, parameters_of
from metaexp.models.batch_norm import BatchNorm, normalise_with
from metaexp.models.checks.inspection import convert_batch_norm, prepare_network

SHAPE = (2, 6, 6)


class Net(Network):
    """A convolution, the layer that is tested, and a head."""

    def __init__(self, norm: nn.Module, n_outputs: int | None = 3, width: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.inner = nn.Sequential(norm, nn.ReLU())
        self.head = nn.Identity() if n_outputs is None else nn.Linear(64, width or n_outputs)

    def features(self, x: Tensor) -> Tensor:
        return self.inner(self.conv(x)).flatten(1)


class ByHand(nn.Module):
    """Normalises by the batch without a layer that anybody would know."""

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, training=True)


class Reader(Network):
    """An LSTM of torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def features(self, x: Tensor) -> Tensor:
        out: Tensor = self.lstm(x)[0][:, -1]
        return out


def tasks(*shape: int, number: int = 3) -> Episode:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(3).repeat(2).expand(number, -1)
    support, query = (Examples(torch.randn(number, 6, *shape, generator=generator), y, 3) for _ in range(2))
    return Episode(support, query)


def maml(network: nn.Module, **keys: Any) -> MAML:
    settings: dict[str, Any] = {
        "inner_lr": 0.1, "inner_steps": 2, "inner_steps_test": 2, "first_order": False,
        "inner_loss_reduction": "mean", "adapt": "all", "batch_norm": "transductive",
    }  # fmt: skip
    return MAML(network, **{**settings, **keys})


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("tracks", [True, False])
def test_torch_batch_norm_becomes_ours_with_the_same_values_and_is_recorded(
    affine: bool, tracks: bool, caplog: pytest.LogCaptureFixture
) -> None:
    layer = nn.BatchNorm2d(4, eps=0.01, momentum=0.3, affine=affine, track_running_stats=tracks)
    network = Net(layer)
    if affine:
        layer.weight.data.uniform_(0.5, 2)
    x = torch.randn(5, *SHAPE)
    expected = network.train()(x)
    trained = None if layer.running_mean is None else layer.running_mean.clone()
    if trained is not None:
        layer.reset_running_stats()
    with caplog.at_level(logging.INFO, "metaexp"):
        prepare_network(network, SHAPE, 3)
    ours = network.inner[0]
    assert isinstance(ours, BatchNorm)
    assert any("1 layer of batch norm became metaexp's" in message for message in caplog.messages)
    assert maml(network).batch_norm == "transductive"
    assert ProtoNet(network, TaskShape(3, 2, 2), "squared_euclidean", "running").batch_norm == "running"
    assert torch.allclose(network(x), expected, atol=1e-5)
    if trained is not None:
        assert torch.allclose(ours.running_mean, trained, atol=1e-6)
    with normalise_with("stored"):
        assert not torch.allclose(network(x), expected, atol=1e-2)


def test_a_converted_network_maps_over_tasks_as_it_loops_over_them() -> None:
    algorithm = maml(Net(nn.BatchNorm2d(4)))
    convert_batch_norm(algorithm.model)
    episodes = tasks(*SHAPE)
    assert torch.allclose(over_tasks(algorithm, episodes), over_tasks(algorithm, episodes, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.BatchNorm2d(4, momentum=None), r"layer inner\.0 of Net is a torch BatchNorm2d with momentum=None"),
        (nn.InstanceNorm2d(4, track_running_stats=True), r"InstanceNorm2d, which keeps statistics.*Use metaexp"),
        (ByHand(), r"what Net gives for an example depends on the others in its batch"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_refused(layer: nn.Module, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        prepare_network(Net(layer), SHAPE, 3)


def test_a_lazy_batch_norm_that_was_never_called_is_not_converted() -> None:
    with pytest.raises(ConfigError, match="LazyBatchNorm2d, whose size is not known"):
        convert_batch_norm(Net(nn.LazyBatchNorm2d()))


@pytest.mark.parametrize(
    "layer", [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.Dropout(0.5), BatchNorm(4), nn.Identity()]
)
def test_layers_that_treat_each_example_by_itself_stay(layer: nn.Module) -> None:
    network = Net(layer)
    before = torch.get_rng_state()
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    prepare_network(network, SHAPE, 3)
    assert network.inner[0] is layer
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


class Centred(Net):
    """Subtracts a mean from its input: by a new tensor, or in place."""

    def __init__(self, n_outputs: int | None, in_place: bool) -> None:
        super().__init__(nn.Identity(), n_outputs)
        self.in_place = in_place

    def features(self, x: Tensor) -> Tensor:
        return super().features(x.sub_(0.5) if self.in_place else x - 0.5)


@pytest.mark.parametrize("n_outputs", [None, 3])
def test_a_network_that_writes_into_its_input_is_refused(n_outputs: int | None) -> None:
    """The next inner step would see it written to once more: Reptile was right in 19 % of episodes, and not in 61 %."""
    prepare_network(Centred(n_outputs, in_place=False), SHAPE, n_outputs)
    with pytest.raises(ConfigError, match=r"Centred writes into its input, and inner steps need it as it was"):
        prepare_network(Centred(n_outputs, in_place=True), SHAPE, n_outputs)


def test_a_layer_with_two_names_is_refused_and_a_shared_parameter_is_not() -> None:
    """After a functional call, torch leaves the other weights in such a layer."""
    layer = nn.BatchNorm2d(4)
    with pytest.raises(ConfigError, match=r"layer inner\.0\.1 of Net is layer inner\.0\.0 once more"):
        prepare_network(Net(nn.Sequential(layer, layer)), SHAPE, 3)
    activation = nn.ReLU()
    network = Net(nn.Sequential(activation, nn.Conv2d(4, 4, 1), activation, nn.Conv2d(4, 4, 1)))
    network.inner[0][3].weight = network.inner[0][1].weight
    prepare_network(network, SHAPE, 3)
    before = {name: (p, p.detach().clone()) for name, p in network.named_parameters(remove_duplicate=False)}
    algorithm, episodes = maml(network), tasks(*SHAPE)
    assert torch.allclose(over_tasks(algorithm, episodes), over_tasks(algorithm, episodes, 1), atol=1e-5)
    after = dict(network.named_parameters(remove_duplicate=False))
    assert all(after[name] is p and torch.equal(p, value) for name, (p, value) in before.items())


class Hiding(Net):
    """A network that keeps something in an attribute."""

    def __init__(self, kept: object) -> None:
        super().__init__(nn.Identity())
        self.kept = kept


HIDDEN = {
    "layers": ([nn.Linear(2, 2)], "kept of Hiding is a plain list .* Use torch.nn.ModuleList"),
    "parameters": ((nn.Parameter(torch.ones(2)),), "a plain tuple .* Use torch.nn.ParameterList"),
    "by name": ({"a": nn.Conv2d(1, 1, 1)}, "a plain dict .* Use torch.nn.ModuleDict"),
    "in pairs": ([("a", nn.ReLU()), ("b", nn.Linear(2, 2))], "a plain list .* Use torch.nn.ModuleList"),
    "a set": ({nn.Linear(2, 2)}, "a plain set .* Use torch.nn.ModuleList"),
    "dropout": ([nn.Sequential(nn.ReLU(), nn.Dropout2d(0.5))], "or put into evaluation mode"),
}


@pytest.mark.parametrize(("kept", "message"), HIDDEN.values(), ids=HIDDEN)
def test_what_torch_does_not_find_in_a_list_is_refused(kept: object, message: str) -> None:
    """It was not trained, and dropout in it stayed on in tests, without a word."""
    with pytest.raises(ConfigError, match=f"model: .*{message}"):
        prepare_network(Hiding(kept), SHAPE, 3)
    with pytest.raises(ConfigError, match=r"model: kept of Hiding, layer inner\.0 of Net, is"):
        prepare_network(Net(Hiding(kept)), SHAPE, 3)


def test_what_torch_finds_or_need_not_find_is_not_a_hidden_layer() -> None:
    layer = nn.Linear(2, 2)
    known = Hiding([layer, layer.weight])
    known.layer = layer
    for network in (
        known,
        Hiding([nn.Linear(2, 2).requires_grad_(False), nn.ReLU(), torch.ones(2), "name", None]),
        Hiding(nn.ModuleList([nn.Linear(2, 2)])),
        Hiding({"sizes": [1, 2], "empty": ()}),
    ):
        prepare_network(network, SHAPE, 3)


def test_a_network_without_the_head_that_it_calls_is_refused() -> None:
    network = Net(nn.Identity(), None)
    del network.head
    with pytest.raises(ConfigError, match=r"model: Net has no head.*torch\.nn\.Identity\(\) where n_outputs is None"):
        prepare_network(network, SHAPE, None)


class Noisy(Net):
    """Dropout that does not ask for the mode."""

    def features(self, x: Tensor) -> Tensor:
        return super().features(F.dropout(x, 0.5, training=self.always or self.training))


@pytest.mark.parametrize("always", [True, False])
def test_random_numbers_in_evaluation_mode_are_warned_of(always: bool, caplog: pytest.LogCaptureFixture) -> None:
    network = Noisy(nn.Dropout(0.5))
    network.always = always
    with caplog.at_level(logging.WARNING):
        prepare_network(network, SHAPE, 3)
    assert caplog.text.count("Noisy draws random numbers in evaluation mode") == always


def test_a_network_that_ignores_n_outputs_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Net was built with n_outputs=3 and gives \(7,\) per example"):
        prepare_network(Net(nn.Identity(), 3, width=7), SHAPE, 3)
    prepare_network(Net(nn.Identity(), 3), SHAPE, 3)
    prepare_network(Net(nn.Identity(), None), SHAPE, None)


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_are_taken_one_task_at_a_time(layer: type[nn.Module]) -> None:
    network = Reader()
    network.lstm = layer(2, 5, batch_first=True)  # type: ignore[call-arg, assignment]
    algorithm = maml(network, first_order=True)
    assert algorithm.takes_single_tasks
    assert over_tasks(algorithm, tasks(4, 2), 1).isfinite().all()
    assert not maml(Net(nn.Identity())).takes_single_tasks


class Branching(nn.Module):
    """Looks at a number, which torch cannot do for several tasks at once."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if float(x.detach().abs().max()) > 1e6 else x


class InPlace(nn.Module):
    """Computes into a buffer that all tasks share."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(4, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        torch.add(x[0].detach(), 0, out=self.last)
        return x


@pytest.mark.parametrize("layer", [Branching, InPlace])
def test_a_network_that_cannot_be_mapped_is_found_and_taken_one_task_at_a_time(
    layer: type[nn.Module], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    network = Net(layer())
    prepare_network(network, SHAPE, 3)
    assert "tasks are taken one at a time, as with device.task_chunk=1" in caplog.text
    assert maml(network, first_order=True).takes_single_tasks
    caplog.clear()
    for other in (Net(nn.Dropout()), Net(nn.Identity()), Net(nn.BatchNorm2d(4, track_running_stats=False))):
        prepare_network(other, SHAPE, 3)
        assert not maml(other, first_order=True).takes_single_tasks
    assert "one at a time" not in caplog.text


def test_the_error_for_an_algorithm_that_cannot_be_mapped_says_what_to_do() -> None:
    algorithm = maml(Net(Branching()), first_order=True)
    with pytest.raises(ConfigError, match=r"several tasks at once: vmap: .*Set device\.task_chunk=1"):
        over_tasks(algorithm, tasks(*SHAPE))
    assert over_tasks(algorithm, tasks(*SHAPE), 1).isfinite().all()


def test_an_error_that_has_nothing_to_do_with_mapping_stays_what_it_is() -> None:
    def broken(episode: Episode) -> Tensor:
        raise RuntimeError("a fault in the code")

    with pytest.raises(RuntimeError, match="a fault in the code"):
        over_tasks(broken, tasks(*SHAPE))


def frozen() -> Net:
    network = Net(BatchNorm(4))
    network.conv.requires_grad_(False)
    return network


@pytest.mark.parametrize("name", ["maml", "meta_sgd", "reptile"])
def test_an_inner_loop_leaves_frozen_parameters_alone(name: str) -> None:
    def make(network: nn.Module) -> Any:
        if name == "maml":
            return maml(network)
        if name == "meta_sgd":
            return MetaSGD(network, 0.1, 0.2, 2, 2, False, "transductive")
        return Reptile(network, 0.1, 2, 2, 6, 6, "reset", "transductive")

    support = Episode(*(Examples(e.x[0], e.y[0], 3) for e in tasks(*SHAPE))).support
    learner = make(frozen()).adapt(support)
    assert not any(key.startswith("conv.") for key in learner.params)
    assert any(key.startswith("conv.") for key in make(Net(BatchNorm(4))).adapt(support).params)
    assert "head.weight" in learner.params


def test_parameters_that_a_functional_call_replaced_are_not_taken_for_frozen() -> None:
    network = frozen()
    found: list[set[str]] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self) -> Tensor:
            found.append(set(parameters_of(self.network)))
            return torch.zeros(())

    plain = {f"network.{name}": p.detach().clone() for name, p in network.named_parameters()}
    torch.func.functional_call(Spy(), plain, ())
    Spy()()
    assert "conv.weight" in found[0]
    assert "conv.weight" not in found[1]


def test_a_cpu_takes_images_of_metric_learners_one_task_at_a_time_and_gets_the_same() -> None:
    shape = TaskShape(3, 2, 2)
    algorithm = ProtoNet(Net(BatchNorm(4), None), shape, "squared_euclidean", "running").eval()
    assert algorithm.takes_single_tasks
    assert not maml(Net(BatchNorm(4))).takes_single_tasks
    assert not ProtoNet(nn.Linear(2, 3), shape, "squared_euclidean", "running").takes_single_tasks, "nothing large"
    episodes = tasks(*SHAPE)

    def scores(episode: Episode) -> Tensor:
        return algorithm.predict(algorithm.adapt(episode.support), episode.query.x)

    looped = over_tasks(scores, episodes, 1)
    assert torch.allclose(looped, over_tasks(scores, episodes), atol=1e-5)
    assert not torch.allclose(looped, looped.roll(1, 0), atol=1e-2)


def test_a_cpu_takes_large_tasks_with_constant_inner_gradients_one_at_a_time_and_gets_the_same() -> None:
    least = MAML.faster_one_by_one_from
    assert least is not None
    trained = {order: maml(Net(BatchNorm(4)), first_order=order).train() for order in (False, True)}
    assert trained[True].tasks_at_once(least, 8) == 1
    assert trained[True].tasks_at_once(least - 1, 8) == 8
    assert trained[False].tasks_at_once(least, 8) == 8, "its gradients are differentiated"
    tested = trained[False].eval()
    assert tested.tasks_at_once(least, 8) == 1
    assert maml(nn.Linear(2, 3)).eval().tasks_at_once(least, 8) == 8, "nothing large"

    def scores(episode: Episode) -> Tensor:
        return tested.predict(tested.adapt(episode.support), episode.query.x)

    episodes = tasks(*SHAPE)
    with torch.no_grad():
        looped, mapped = over_tasks(scores, episodes, 1), over_tasks(scores, episodes)
    assert torch.allclose(looped, mapped, atol=1e-4)
    assert not torch.allclose(looped, looped.roll(1, 0), atol=1e-2)


class BatchNormAct2d(nn.BatchNorm2d):
    """As that of timm: batch norm, dropout and activation in one layer."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.drop, self.act = nn.Dropout(0.0), nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.drop(super().forward(x)))
        return out


class OfAnotherPackage(BatchNormAct2d):
    """A layer that may do anything else."""


def test_batch_norm_of_timm_in_a_network_of_ones_own_is_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm.layers", SimpleNamespace(BatchNormAct2d=BatchNormAct2d))
    x = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    theirs = Net(BatchNormAct2d(4)).eval()
    with torch.no_grad():
        for values in (theirs.inner[0].weight, theirs.inner[0].running_mean):
            values.uniform_(0.5, 2.0)
        expected = theirs(x)
        ours = Net(BatchNormAct2d(4)).eval()
        ours.load_state_dict(theirs.state_dict())
        assert convert_batch_norm(ours) == ["inner.0"]
        assert isinstance(ours.inner[0], BatchNorm)
        assert not ours.inner[0].training
        with normalise_with("stored"):
            torch.testing.assert_close(ours(x), expected)
        with normalise_with("batch"):
            assert not torch.allclose(ours(x), expected, atol=1e-3)
            torch.testing.assert_close(ours(x), theirs.train()(x))
    with pytest.raises(ConfigError, match="layer inner.0 of Net is a .* OfAnotherPackage, which keeps statistics"):
        convert_batch_norm(Net(OfAnotherPackage(4)))
