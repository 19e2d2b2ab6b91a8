"""Every learner with the plain way to write it in torch: the same weights, the same tasks, one loss each.

The plain way has torch's own layers and optimisers, and loops over tasks with torch.autograd. Tensors are made in
torch's default type, so the same pairs are compared in float64 and timed in float32.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import NamedTuple

import plain_meta_lstm
import plain_relation_net
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from metaexp.algorithms.anil import ANIL
from metaexp.algorithms.fine_tune import FineTune
from metaexp.algorithms.maml import MAML
from metaexp.algorithms.maml_plus_plus import MAMLPlusPlus
from metaexp.algorithms.matching_net import MatchingNet
from metaexp.algorithms.meta_sgd import MetaSGD
from metaexp.algorithms.nearest_neighbour import NearestNeighbour
from metaexp.algorithms.proto_net import ProtoNet
from metaexp.algorithms.reptile import Reptile
from metaexp.core.algorithm import Algorithm
from metaexp.core.over_tasks import over_tasks
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples, n_tasks, one_task
from metaexp.engines.learn2learn import import_learn2learn
from metaexp.models.base import parameters_of
from metaexp.models.conv4 import Conv4
from metaexp.models.omniglot_conv import OmniglotConv

IMAGE = (1, 28, 28)
EMBEDDED = TaskShape(60, 1, 5)
CLASSES, BATCH = 64, 128
INNER_LR, TASKS = 0.4, 4
WEIGHTS = ("weight", "bias")


class Pair(NamedTuple):
    """Two ways to compute the same, and how many times as fast metaexp is to be.

    The modules have the same weights. Each way adds its gradients to ``.grad``, and returns its loss (). ``arrange``
    puts the gradients of our parameters in the order and form of those of the plain module. Gradients below
    ``least_gradient`` of the whole are compared by that size.
    """

    ours: nn.Module
    our_backward: Callable[[], Tensor]
    plain: nn.Module
    plain_backward: Callable[[], Tensor]
    goal: float
    arrange: Callable[[list[Tensor]], list[Tensor]] = list
    least_gradient: float = 1e-5


def in_one_pass(loss: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """A way that computes the whole loss (), and then its gradients."""

    def backward() -> Tensor:
        value = loss()
        value.backward()
        return value.detach()

    return backward


def conv4(n_outputs: int | None = None) -> Conv4:
    """The network with 64 filters."""
    return Conv4(IMAGE, n_outputs, 64, True, "ones", 1e-5, 0.1, "default")


def plain_conv4(model: nn.Module, n_outputs: int | None = None) -> nn.Sequential:
    """The same in torch's layers, with the weights of ``model``."""
    widths = [1, 64, 64, 64, 64]
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Flatten()] + ([] if n_outputs is None else [nn.Linear(64, n_outputs)])
    plain = nn.Sequential(*layers)
    with torch.no_grad():
        for mine, theirs in zip(plain.parameters(), model.parameters(), strict=True):
            mine.copy_(theirs)
    return plain


def episode(shape: TaskShape, seed: int = 0) -> Episode:
    """Random images; the arithmetic does not depend on what they show."""
    generator = torch.Generator().manual_seed(seed)

    def draw(per_class: int) -> Examples:
        y = torch.arange(shape.n_way).repeat(per_class)
        y = y[torch.randperm(len(y), generator=generator)]
        return Examples(torch.rand(len(y), *IMAGE, generator=generator), y, shape.n_way)

    return Episode(draw(shape.k_shot), draw(shape.n_query))


def proto_net() -> Pair:
    """60-way episodes with 5 queries a class, as published."""
    ours = ProtoNet(conv4(), EMBEDDED, "squared_euclidean", "running")
    plain, task = plain_conv4(ours.model), episode(EMBEDDED)

    def loss() -> Tensor:
        support, query = task
        embedded = plain(torch.cat([support.x, query.x]))
        prototypes = torch.stack([embedded[: len(support.x)][support.y == n].mean(0) for n in range(EMBEDDED.n_way)])
        distances = (embedded[len(support.x) :].unsqueeze(1) - prototypes).square().sum(2)
        return F.cross_entropy(-distances, query.y)

    return Pair(ours, in_one_pass(lambda: ours(task)), plain, in_one_pass(loss), 1.5)


def matching_net() -> Pair:
    """Cosine attention without full context embeddings, 60-way."""
    ours = MatchingNet(conv4(), IMAGE, EMBEDDED, False, 1, 0.0, "running")
    plain, task = plain_conv4(ours.model), episode(EMBEDDED)

    def loss() -> Tensor:
        support, query = task
        embedded = F.normalize(plain(torch.cat([support.x, query.x])), dim=1)
        attention = (embedded[len(support.x) :] @ embedded[: len(support.x)].T).softmax(1)
        return F.nll_loss((attention @ F.one_hot(support.y, support.n_way).to(embedded.dtype)).log(), query.y)

    return Pair(ours, in_one_pass(lambda: ours(task)), plain, in_one_pass(loss), 1.5)


def supervised(ours: Algorithm, model: nn.Module, head: nn.Module) -> Pair:
    """A classifier of all training classes on batches of 128."""
    plain = nn.Sequential(*plain_conv4(model), nn.Linear(64, CLASSES))
    plain[-1].load_state_dict(head.state_dict())
    batch = Examples(torch.rand(BATCH, *IMAGE), torch.randint(CLASSES, (BATCH,)), CLASSES)
    return Pair(
        ours,
        in_one_pass(lambda: ours(Episode(batch, batch))),
        plain,
        in_one_pass(lambda: F.cross_entropy(plain(batch.x), batch.y)),
        1.5,
    )


def nearest_neighbour() -> Pair:
    """The training of its embedding."""
    ours = NearestNeighbour(conv4(), IMAGE, CLASSES, TaskShape(5, 1, 15), "embedding", "euclidean")
    assert ours.model is not None
    assert ours.head is not None
    return supervised(ours, ours.model, ours.head)


def fine_tune() -> Pair:
    """The training before it is tuned."""
    shape = TaskShape(5, 1, 15)
    ours = FineTune(conv4(), IMAGE, CLASSES, shape, "linear", 1.0, "head", 100, 0.01, 0.0)
    return supervised(ours, ours.model, ours.head)


def relation_net() -> Pair:
    """5-way 1-shot Omniglot, as published."""
    ours = plain_relation_net.relation_net()
    plain = plain_relation_net.Plain(ours)
    task = episode(TaskShape(5, 1, 19))
    return Pair(ours, in_one_pass(lambda: ours(task)), plain, in_one_pass(lambda: plain.loss(task)), 2.5)


def meta_lstm() -> Pair:
    """5-way 1-shot Omniglot, 12 steps of the learner."""
    ours = plain_meta_lstm.meta_lstm()
    plain = plain_meta_lstm.Plain(ours)
    tasks = few_tasks(TaskShape(5, 1, 15), 1)
    return Pair(
        ours,
        in_one_pass(lambda: mean_loss(ours, tasks)),
        plain,
        in_one_pass(lambda: plain.mean_loss(tasks)),
        2.5,
        lambda gradients: plain_meta_lstm.gradients_by_gate(ours, gradients),
        plain_meta_lstm.LEAST_GRADIENT,
    )


def few_tasks(shape: TaskShape, count: int = TASKS) -> Episode:
    """A batch of random tasks."""
    drawn = [episode(shape, seed) for seed in range(count)]
    return Episode(
        *(
            Examples(torch.stack([e.x for e in side]), torch.stack([e.y for e in side]), shape.n_way)
            for side in zip(*drawn, strict=True)
        )
    )


def mean_loss(ours: Algorithm, tasks: Episode) -> Tensor:
    """The meta-loss () as training computes it: as many tasks at once as the algorithm takes."""
    losses: Tensor = over_tasks(ours, tasks, ours.tasks_at_once(tasks.support.x.shape[1], n_tasks(tasks)))
    return losses.mean()


def inner_gradients(
    net: nn.Module, params: dict[str, Tensor], names: list[str], support: Examples, second_order: bool = True
) -> list[Tensor]:
    """Gradients of the support loss by the parameters ``names``, to be differentiated again in second order."""
    loss = F.cross_entropy(functional_call(net, params, (support.x,)), support.y)
    return list(torch.autograd.grad(loss, [params[name] for name in names], create_graph=second_order))


def by_gradient(
    make: Callable[[nn.Module], Algorithm],
    adapts: Callable[[str], bool],
    k_shot: int = 1,
    second_order: bool = True,
) -> Pair:
    """An inner loop of one step, on 5-way tasks with 5 queries a class.

    Args:
        make: The algorithm around a network.
        adapts: Whether the inner step changes the parameter of that name.
        k_shot: Support images of a class.
        second_order: Whether the inner gradients are differentiated.
    """
    model = conv4(5)
    plain = plain_conv4(model, 5)
    ours = make(model)
    tasks = few_tasks(TaskShape(5, k_shot, 5))

    def loss() -> Tensor:
        losses = []
        for support, query in (one_task(tasks, i) for i in range(TASKS)):
            params: dict[str, Tensor] = dict(plain.named_parameters())
            names = [name for name in params if adapts(name)]
            for name, g in zip(names, inner_gradients(plain, params, names, support, second_order), strict=True):
                params[name] = params[name] - INNER_LR * g
            losses.append(F.cross_entropy(functional_call(plain, params, (query.x,)), query.y))
        return torch.stack(losses).mean()

    return Pair(ours, in_one_pass(lambda: mean_loss(ours, tasks)), plain, in_one_pass(loss), 1.0)


def maml() -> Pair:
    """All parameters adapt."""
    return by_gradient(lambda model: MAML(model, INNER_LR, 1, 1, False, "mean", "all", "transductive"), lambda _: True)


def maml_first_order() -> Pair:
    """The inner gradients are constants; 5 shots."""
    return by_gradient(
        lambda model: MAML(model, INNER_LR, 1, 1, True, "mean", "all", "transductive"), lambda _: True, 5, False
    )


def anil() -> Pair:
    """The last layer adapts."""
    return by_gradient(
        lambda model: ANIL(model, INNER_LR, 1, 1, False, "mean", "transductive"), lambda name: name.startswith("17.")
    )


def meta_sgd() -> Pair:
    """As MAML, with a learned rate for every weight."""
    model = conv4(5)
    net = plain_conv4(model, 5)
    ours = MetaSGD(model, 0.005, 0.1, 1, 1, False, "transductive")
    names = [name.replace(".", "/") for name in parameters_of(model)]  # ParameterDict sorts its names
    plain = nn.ModuleList([net, nn.ParameterList(ours.alphas[name].detach().clone() for name in names)])
    tasks = few_tasks(TaskShape(5, 1, 5))

    def loss() -> Tensor:
        losses = []
        for support, query in (one_task(tasks, i) for i in range(TASKS)):
            params: dict[str, Tensor] = dict(net.named_parameters())
            gradients = inner_gradients(net, params, list(params), support)
            changed = zip(params.items(), plain[1], gradients, strict=True)
            adapted = {name: p - rate * g for (name, p), rate, g in changed}
            losses.append(F.cross_entropy(functional_call(net, adapted, (query.x,)), query.y))
        return torch.stack(losses).mean()

    def arrange(gradients: list[Tensor]) -> list[Tensor]:
        by_name = dict(zip(ours.alphas, gradients[len(names) :], strict=True))
        return gradients[: len(names)] + [by_name[name] for name in names]

    return Pair(ours, in_one_pass(lambda: mean_loss(ours, tasks)), plain, in_one_pass(loss), 1.0, arrange)


def maml_plus_plus() -> Pair:
    """Two inner steps with the loss after each, learned rates, and gamma and beta of each step."""
    steps = 2
    model = conv4(5)
    net = plain_conv4(model, 5)
    ours = MAMLPlusPlus(model, 0.1, steps, steps, 10, True, True, 0, 500, "transductive")
    norms = {f"{i}.{part}" for i, layer in enumerate(net) if isinstance(layer, nn.BatchNorm2d) for part in WEIGHTS}
    shared = {name: p.detach() for name, p in net.named_parameters()}
    values = [p.repeat(steps, 1) if name in norms else p.clone() for name, p in shared.items()]
    rates = torch.full((steps, len(shared) - len(norms)), 0.1)
    plain = nn.ParameterList([*values, rates])
    tasks = few_tasks(TaskShape(5, 1, 5))

    def loss() -> Tensor:
        losses = []
        for support, query in (one_task(tasks, i) for i in range(TASKS)):
            params: dict[str, Tensor] = dict(zip(shared, plain, strict=False))
            names = [name for name in params if name not in norms]
            for step in range(steps):
                here = {name: p[step] if name in norms else p for name, p in params.items()}
                gradients = inner_gradients(net, here, names, support)
                for i, (name, g) in enumerate(zip(names, gradients, strict=True)):
                    params[name] = here[name] = here[name] - plain[-1][step, i] * g
                losses.append(F.cross_entropy(functional_call(net, here, (query.x,)), query.y) / steps)
        return torch.stack(losses).sum() / TASKS

    return Pair(
        ours, in_one_pass(lambda: mean_loss(ours, tasks)), plain, in_one_pass(loss), 1.0, lambda g: [*g[1:], g[0]]
    )


def reptile() -> Pair:
    """Five of Adam's steps on ten images each, as published for Omniglot.

    Adam divides gradients that are nothing but rounding (biases before batch norm) by their size, which leaves some
    3e-9 of the whole gradient, so all parameters are compared by the whole.
    """
    steps, size, lr = 5, 10, 1e-3
    model = conv4(5)
    ours = Reptile(model, lr, steps, steps, size, size, "reset", "transductive")
    plain = plain_conv4(model, 5)
    tasks = few_tasks(TaskShape(5, 10, 1))

    def loss() -> Tensor:
        losses = []
        for support, _ in (one_task(tasks, i) for i in range(TASKS)):
            learner = copy.deepcopy(plain)
            optimizer = torch.optim.Adam(learner.parameters(), lr, betas=(0.0, 0.999))
            for x, y in zip(support.x.split(size), support.y.split(size), strict=True):
                optimizer.zero_grad()
                F.cross_entropy(learner(x), y).backward()
                optimizer.step()
            ways = zip(plain.parameters(), learner.parameters(), strict=True)
            losses.append(0.5 * torch.stack([(a - b.detach()).square().sum() for a, b in ways]).sum())
        return torch.stack(losses).mean()

    return Pair(ours, in_one_pass(lambda: mean_loss(ours, tasks)), plain, in_one_pass(loss), 1.0, least_gradient=1.0)


def published_maml() -> tuple[MAML, Episode]:
    """MAML for 5-way 1-shot Omniglot, and the 32 tasks of a step."""
    model = OmniglotConv(IMAGE, 5, 64, False, 1e-3, "tf_same", "normal", "mean")
    return MAML(model, 2.0, 1, 1, False, "mean", "all", "transductive"), few_tasks(TaskShape(5, 1, 1), 32)


def maml_against_learn2learn() -> Pair:
    """The published setting with 32 tasks, written as learn2learn's own Omniglot example writes it."""
    package = import_learn2learn()
    ours, tasks = published_maml()
    wrapped = package.algorithms.MAML(copy.deepcopy(ours.model), lr=ours.inner_lr, first_order=False)

    def backward() -> Tensor:
        losses = []
        for support, query in (one_task(tasks, i) for i in range(n_tasks(tasks))):
            learner = wrapped.clone()
            learner.adapt(F.cross_entropy(learner(support.x), support.y))
            loss = F.cross_entropy(learner(query.x), query.y)
            loss.backward()
            losses.append(loss.detach())
        for parameter in wrapped.parameters():
            parameter.grad.mul_(1 / len(losses))
        return torch.stack(losses).mean()

    return Pair(ours, in_one_pass(lambda: mean_loss(ours, tasks)), wrapped, backward, 3.0)


PAIRS: dict[str, Callable[[], Pair]] = {
    "proto_net": proto_net,
    "matching_net": matching_net,
    "nearest_neighbour": nearest_neighbour,
    "fine_tune": fine_tune,
    "relation_net": relation_net,
    "meta_lstm": meta_lstm,
    "maml": maml,
    "maml_first_order": maml_first_order,
    "meta_sgd": meta_sgd,
    "maml_plus_plus": maml_plus_plus,
    "anil": anil,
    "reptile": reptile,
    "maml_against_learn2learn": maml_against_learn2learn,
}
"""Name -> a pair in torch's default type. The last needs learn2learn."""
