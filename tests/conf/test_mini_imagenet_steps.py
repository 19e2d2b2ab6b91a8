"""What can be tested of the experiments on mini-ImageNet without its images: weights, shapes, and one step.

The step is on a task of the stand-in: the loss that training takes, and its gradient, equal those in plain operations.
A wrong version of each, as ports have it, does not. Every method takes its step with one number of shots or with both;
every night all do with both.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import plain_losses as plain
import pytest
import torch
from experiments import published
from sampling import sample
from torch import Tensor, nn

from metaexp.config.compose import Composer
from metaexp.core.types import one_task
from metaexp.data.base import MetaDataset
from metaexp.machine.device import Compute
from metaexp.models.batch_norm import BatchNorm
from metaexp.run.build import Parts, build, load_examples
from metaexp.run.initial.algorithm import algorithm_class, build_algorithm
from metaexp.run.initial.network import Interface, build_network

CONF = Path(__file__).resolve().parents[2] / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*mini_imagenet*.yaml"))
CPU = Compute(torch.device("cpu"), "test", "float32", 1, True, None)


def method(name: str) -> str:
    """The method of an experiment."""
    return name.partition("_mini_imagenet")[0]


TRIED = sample(EXPERIMENTS, 18, lambda name: [method(name)])
LITTLE = [
    "model.channels=4", "dataset.stand_in=true", "dataset.stand_in_images=21", "dataset.normalise=null",
    "train.n_query=2",
]  # fmt: skip
"""Few filters and queries, and the same images for all experiments, enough for 15 queries and 5 shots."""
Loss = Callable[[plain.Weights, plain.Task], Tensor]

CONV4_32, CONV4_48, CONV4_64 = 28_640, 63_696, 112_576
"""Weights and biases of four convolutions."""
HEAD_32 = 800 * 5 + 5
COUNTS = {  # of all but batch norm, and of batch norm, by the papers' sizes
    "maml": (CONV4_32 + HEAD_32, 4 * 32),
    "maml_first_order": (CONV4_32 + HEAD_32, 4 * 32),
    "anil": (CONV4_32 + HEAD_32, 4 * 32),
    "meta_sgd": (2 * (CONV4_32 + HEAD_32) + 4 * 32, 4 * 32),  # a rate for each weight
    "maml_plus_plus": (CONV4_48 + 1200 * 5 + 5 + 5 * 10, 5 * 4 * 2 * 48),  # rates and norms of five steps
    "reptile": (CONV4_32 + HEAD_32, 4 * 2 * 32),
    "reptile_transductive": (CONV4_32 + HEAD_32, 4 * 2 * 32),
    "meta_lstm": (CONV4_32 + HEAD_32 + 80 * 24 + 80 + 2 * 23, 4 * 2 * 32),
    "relation_net": (113_088 - 512 + 115_601 - 256, 768),
    "proto_net": (CONV4_64, 512),
    "matching_net": (CONV4_64, 512),
    "matching_net_fce": (CONV4_64 + 2 * (3200 * 6400 + 6400) + 4800 * 6400 + 6400, 512),
    "fine_tune": (CONV4_64 + 1600 * 64 + 64, 512),
    "fine_tune_cosine": (CONV4_64 + 1600 * 64, 512),
    "nearest_neighbour": (CONV4_64 + 1600 * 64 + 64, 512),
}
FEATURES = {"relation_net": (64, 19, 19), "maml_plus_plus": (1200,)}
"""Shapes that the network gives to an algorithm; (800,) with 32 filters and (1600,) with 64 elsewhere."""


def losses(name: str) -> tuple[Loss, Loss]:
    """The loss of an experiment, and one that is wrong."""
    shots, found = float(name[-5]), method(name)
    updates = 12 if shots == 1 else 8
    of_attention: dict[str, object] = {"dropped": 0.2} if shots == 1 else {"attention": False}

    def of(function: Callable[..., Tensor], right: dict[str, object], wrong: dict[str, object]) -> tuple[Loss, Loss]:
        return lambda w, task: function(w, task, **right), lambda w, task: function(w, task, **wrong)

    return {
        "maml": lambda: of(plain.maml, {"per": shots}, {"per": 5 * shots}),  # the mean over the support
        "maml_first_order": lambda: of(plain.maml, {"per": shots, "first_order": True}, {"per": shots}),
        "anil": lambda: of(plain.maml, {"per": shots, "head_only": True}, {"per": shots}),
        "meta_sgd": lambda: of(plain.meta_sgd, {"reduction": "mean"}, {"reduction": "sum"}),
        "maml_plus_plus": lambda: of(plain.maml_plus_plus, {"shares": [0.2] * 5}, {"shares": [0, 0, 0, 0, 1]}),
        "reptile": lambda: of(plain.reptile, {"beta1": 0.0}, {"beta1": 0.9}),
        "reptile_transductive": lambda: of(plain.reptile, {"beta1": 0.0}, {"beta1": 0.9}),
        "meta_lstm": lambda: of(
            plain.meta_lstm, {"updates": updates, "divide": True}, {"updates": updates, "divide": False}
        ),
        "relation_net": lambda: of(plain.relation_net, {"support_first": True}, {"support_first": False}),
        "proto_net": lambda: of(plain.proto_net, {"distance": lambda d: d}, {"distance": torch.sqrt}),
        "matching_net": lambda: of(plain.matching_net, {"context": False}, {"context": False, **of_attention}),
        "matching_net_fce": lambda: of(plain.matching_net, {"context": True}, {"context": True, **of_attention}),
        "fine_tune": lambda: of(plain.classifier, {}, {"eps": plain.CODE_EPS}),
        "fine_tune_cosine": lambda: of(plain.classifier, {"cosine_scale": 2.0}, {"cosine_scale": 10.0}),
        "nearest_neighbour": lambda: of(plain.classifier, {"eps": plain.CODE_EPS}, {}),
    }[found]()


def counts(network: nn.Module) -> tuple[int, int]:
    """(weights, biases and what else is learned, parameters of batch norm)."""
    norms = {id(p) for m in network.modules() if isinstance(m, BatchNorm) for p in m.parameters()}
    sizes = [(id(p) in norms, p.numel()) for p in network.parameters()]
    return sum(n for is_norm, n in sizes if not is_norm), sum(n for is_norm, n in sizes if is_norm)


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


@pytest.fixture(scope="module")
def stand_in(composer: Composer, tmp_path_factory: pytest.TempPathFactory) -> MetaDataset:
    """Made-up images of 84 pixels, drawn once for all experiments here."""
    place = tmp_path_factory.mktemp("stand_in")
    overrides = [f"experiment={EXPERIMENTS[0]}", *LITTLE, f"paths.data={place}"]
    return load_examples(composer.settings(overrides), lambda _: None)


def small(name: str, composer: Composer, dataset: MetaDataset) -> Parts:
    """The parts of a run of an experiment, with few filters, in float64.

    A bias before batch norm has a gradient of rounding only. Adam divides it by its own size, so Reptile's is compared
    less closely; its steps are 0.001.
    """
    overrides = [f"experiment={name}", *LITTLE]
    overrides += ["algorithm.relation_channels=4"] * (method(name) == "relation_net")
    parts = build(composer.settings(overrides), CPU, lambda _: None, dataset=dataset)
    parts.algorithm.double().train()
    return parts


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name.endswith("_1shot")])
def test_weights_and_shapes_are_those_of_the_paper(name: str) -> None:
    settings = published(name)
    n_outputs = 64 if algorithm_class(settings.algorithm).training_tasks == "supervised" else settings.train.shape.n_way
    interface = Interface((3, 84, 84), n_outputs)
    network = build_network(settings, interface)
    assert network is not None
    width = settings.model.arguments.get("channels", 0) * 25
    assert tuple(network.feature_shape((3, 84, 84))) == FEATURES.get(method(name), (width,))
    assert counts(build_algorithm(settings, interface, network)) == COUNTS[method(name)]


def test_another_number_of_filters_is_another_count(composer: Composer) -> None:
    settings = composer.settings([f"experiment={EXPERIMENTS[0]}", "model.channels=33", "dataset.stand_in=true"])
    interface = Interface((3, 84, 84), 5)
    network = build_network(settings, interface)
    assert counts(build_algorithm(settings, interface, network)) != COUNTS[method(EXPERIMENTS[0])]


@pytest.mark.parametrize("name", TRIED)
def test_a_step_on_the_stand_in_is_that_in_plain_operations(
    name: str, composer: Composer, stand_in: MetaDataset
) -> None:
    parts = small(name, composer, stand_in)
    episode = one_task(parts.train_source.episodes("train", torch.tensor([0])), 0)
    support, query = (part._replace(x=part.x.double()) for part in episode)
    task = (support.x, support.y, query.x, query.y)
    weights = dict(parts.algorithm.named_parameters())

    def loss_and_gradient(loss: Callable[[], Tensor]) -> Tensor:
        torch.manual_seed(0)  # of dropout
        value = loss()
        found = torch.autograd.grad(value, list(weights.values()), allow_unused=True, materialize_grads=True)
        return torch.cat([value.detach().reshape(1), *(g.flatten() for g in found)])

    def agrees(loss: Loss) -> bool:
        found = loss_and_gradient(lambda: loss(weights, task))
        return torch.allclose(ours, found, rtol=1e-6, atol=1e-8 if "reptile" in name else 1e-10)

    ours = loss_and_gradient(lambda: parts.algorithm(type(episode)(support, query)))
    assert ours.abs().max() > 0
    right, wrong = losses(name)
    assert agrees(right)
    assert not agrees(wrong)
