"""One training step of learners of every kind: metaexp against the plain way to write it in torch, in one table.

The plain way has torch's own layers and loops over tasks with torch.autograd. Both have the same weights; equal losses
and gradients are checked before anything is timed. Forward, backward and Adam's step are in the time; making the tasks
is not. A shared machine disturbs two threads: `--clock processor --threads 1` counts the processor's seconds instead.

    python benchmarks/learners.py [--rounds 15] [--threads 2] [--clock wall|processor] [--only NAME] [--output FILE]
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import maml as maml_benchmark
import meta_lstm as lstm_benchmark
import relation_net as relation_benchmark
import torch
import torch.nn.functional as F
from timing import CLOCKS, compare, print_table, save
from torch import Tensor, nn
from torch.func import functional_call

from metaexp.algorithms.anil import ANIL
from metaexp.algorithms.fine_tune import FineTune
from metaexp.algorithms.maml import MAML
from metaexp.algorithms.matching_net import MatchingNet
from metaexp.algorithms.nearest_neighbour import NearestNeighbour
from metaexp.algorithms.proto_net import ProtoNet
from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.over_tasks import over_tasks
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples, one_task
from metaexp.machine.device import raise_malloc_thresholds
from metaexp.models.conv4 import Conv4

IMAGE = (1, 28, 28)
EMBEDDED = TaskShape(60, 1, 5)
CLASSES, BATCH = 64, 128
INNER_LR, TASKS = 0.4, 4


class Pair(NamedTuple):
    """Two ways to compute the same, and how many times as fast metaexp is to be.

    The modules have the same weights; the losses are ().
    """

    ours: nn.Module
    our_loss: Callable[[], Tensor]
    plain: nn.Module
    plain_loss: Callable[[], Tensor]
    goal: float
    is_checked: bool = False
    """Whether gradients have been compared already, where the two keep their weights in different tensors."""


def main(arguments: list[str] | None = None) -> int:
    """Run and print; exit code 0."""
    parser = argparse.ArgumentParser(prog="python benchmarks/learners.py", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--only", choices=list(PAIRS), help="one algorithm")
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    options = parser.parse_args(arguments)
    raise_malloc_thresholds()
    torch.set_num_threads(options.threads)
    rows = {}
    for name in [options.only] if options.only else PAIRS:
        torch.manual_seed(0)
        try:
            pair = PAIRS[name]()
        except ConfigError as error:
            print(f"{name}: left out, {error}")
            continue
        check_equal(name, pair)
        candidates = {"plain": step(pair.plain, pair.plain_loss), "metaexp": step(pair.ours, pair.our_loss)}
        row = compare(candidates, "plain", options.rounds, clock=options.clock)["metaexp"]
        rows[name] = {**row, "goal": pair.goal}
    print_table(f"One training step, {options.threads} threads, {options.clock} time", rows, "plain torch")
    for name, row in rows.items():
        print(f"{name}: goal {row['goal']:.1f} {'holds' if row['ratio'] >= row['goal'] else 'does not hold'}")
    if options.output:
        save(options.output, "learners", rows, rounds=options.rounds, baseline="plain torch", clock=options.clock)
    return 0


def check_equal(name: str, pair: Pair) -> None:
    """Stop unless both give the same loss and the same gradients."""
    ours, plain = pair.our_loss(), pair.plain_loss()
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
    if pair.is_checked:
        return
    found, expected = (
        torch.autograd.grad(
            loss, [p for p in module.parameters() if p.requires_grad], allow_unused=True, materialize_grads=True
        )
        for loss, module in ((ours, pair.ours), (plain, pair.plain))
    )
    a, b = (torch.cat([g.flatten() for g in gradients]) for gradients in (found, expected))
    error = float((a - b).norm() / b.norm())
    if not error < 1e-3:
        raise SystemExit(f"{name}: the gradients differ by {error:.1e} of their length")


def step(module: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], object]:
    """Forward, backward and Adam's step, with a rate that leaves the weights where they are."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-9)

    def run() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return run


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


def episode(shape: TaskShape) -> Episode:
    """Random images."""
    return relation_benchmark.task(IMAGE, shape, torch.device("cpu"))


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

    return Pair(ours, lambda: ours(task), plain, loss, 1.5)


def matching_net() -> Pair:
    """Cosine attention without full context embeddings, 60-way."""
    ours = MatchingNet(conv4(), IMAGE, EMBEDDED, False, 1, 0.0, "running")
    plain, task = plain_conv4(ours.model), episode(EMBEDDED)

    def loss() -> Tensor:
        support, query = task
        embedded = F.normalize(plain(torch.cat([support.x, query.x])), dim=1)
        attention = (embedded[len(support.x) :] @ embedded[: len(support.x)].T).softmax(1)
        return F.nll_loss((attention @ F.one_hot(support.y, support.n_way).float()).log(), query.y)

    return Pair(ours, lambda: ours(task), plain, loss, 1.5)


def supervised(ours: Algorithm, model: nn.Module, head: nn.Module) -> Pair:
    """A classifier of all training classes on batches of 128."""
    plain = nn.Sequential(*plain_conv4(model), nn.Linear(64, CLASSES))
    plain[-1].load_state_dict(head.state_dict())
    batch = Examples(torch.rand(BATCH, *IMAGE), torch.randint(CLASSES, (BATCH,)), CLASSES)
    return Pair(
        ours,
        lambda: ours(Episode(batch, batch)),
        plain,
        lambda: F.cross_entropy(plain(batch.x), batch.y),
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
    ours = relation_benchmark.relation_net(IMAGE, 1)
    plain = relation_benchmark.Plain(IMAGE, 1)
    plain.copy_weights(ours)
    task = episode(TaskShape(5, 1, 19))
    return Pair(ours, lambda: ours(task), plain, lambda: plain.loss(task), 2.5)


def meta_lstm() -> Pair:
    """5-way 1-shot Omniglot, 12 steps of the learner."""
    setting = lstm_benchmark.SETTINGS["omniglot_5way_1shot"]
    ours = lstm_benchmark.meta_lstm(setting)
    plain = lstm_benchmark.Plain(setting)
    plain.copy_weights(ours)
    tasks = lstm_benchmark.tasks(setting, 1, torch.device("cpu"))
    lstm_benchmark.check_equal(ours, plain, tasks)
    return Pair(ours, lambda: over_tasks(ours, tasks).mean(), plain, lambda: plain.mean_loss(tasks), 2.5, True)


def by_gradient(make: Callable[[nn.Module], Algorithm], adapts: Callable[[str], bool]) -> Pair:
    """An inner loop of one step, second order, on 5-way 1-shot tasks with 5 queries a class.

    Args:
        make: The algorithm around a network.
        adapts: Whether the inner step changes the parameter of that name.
    """
    model = conv4(5)
    plain = plain_conv4(model, 5)
    ours = make(model)
    chunk = 1 if ours.takes_single_tasks else None
    drawn = [episode(TaskShape(5, 1, 5)) for _ in range(TASKS)]
    tasks = Episode(
        *(
            Examples(torch.stack([e.x for e in side]), torch.stack([e.y for e in side]), 5)
            for side in zip(*drawn, strict=True)
        )
    )

    def loss() -> Tensor:
        losses = []
        for support, query in (one_task(tasks, i) for i in range(TASKS)):
            params = dict(plain.named_parameters())
            changed = {name: p for name, p in params.items() if adapts(name)}
            inner = F.cross_entropy(plain(support.x), support.y)
            gradients = torch.autograd.grad(inner, list(changed.values()), create_graph=True)
            for (name, p), g in zip(changed.items(), gradients, strict=True):
                params[name] = p - INNER_LR * g
            losses.append(F.cross_entropy(functional_call(plain, params, (query.x,)), query.y))
        return torch.stack(losses).mean()

    return Pair(ours, lambda: over_tasks(ours, tasks, chunk).mean(), plain, loss, 1.0)


def maml() -> Pair:
    """All parameters adapt."""
    return by_gradient(lambda model: MAML(model, INNER_LR, 1, 1, False, "mean", "all", "transductive"), lambda _: True)


def anil() -> Pair:
    """The last layer adapts."""
    return by_gradient(
        lambda model: ANIL(model, INNER_LR, 1, 1, False, "mean", "transductive"), lambda name: name.startswith("17.")
    )


def maml_against_learn2learn() -> Pair:
    """The published setting with 32 tasks, in learn2learn's own words."""
    package = maml_benchmark.import_learn2learn()
    device = torch.device("cpu")
    tasks = maml_benchmark.tasks(device)
    model = maml_benchmark.network(device)
    ours = MAML(model, maml_benchmark.INNER_LR, 1, 1, False, "mean", "all", "transductive")
    wrapped = package.algorithms.MAML(maml_benchmark.network(device), lr=maml_benchmark.INNER_LR, first_order=False)

    def loss() -> Tensor:
        losses = []
        for support, query in (one_task(tasks, i) for i in range(maml_benchmark.N_TASKS)):
            learner = wrapped.clone()
            learner.adapt(F.cross_entropy(learner(support.x), support.y))
            losses.append(F.cross_entropy(learner(query.x), query.y))
        return torch.stack(losses).mean()

    return Pair(ours, lambda: over_tasks(ours, tasks).mean(), wrapped, loss, 3.0)


PAIRS: dict[str, Callable[[], Pair]] = {
    "proto_net": proto_net,
    "matching_net": matching_net,
    "nearest_neighbour": nearest_neighbour,
    "fine_tune": fine_tune,
    "relation_net": relation_net,
    "meta_lstm": meta_lstm,
    "maml": maml,
    "anil": anil,
    "maml_against_learn2learn": maml_against_learn2learn,
}

if __name__ == "__main__":
    raise SystemExit(main())
