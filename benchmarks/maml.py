"""One meta-step of MAML on Omniglot-shaped tasks: metaexp against learn2learn, and vectorised against a loop.

The published setting: the strided network with 64 filters, 32 tasks of 5-way 1-shot with 1 query per class, one
inner step, second order. Forward, backward and Adam's update are in the time; making the episodes is not. Before
anything is timed, the losses and the gradient of each parameter are compared in float64, for the same weights. That
leaves out learn2learn's own network, which has other layers.
`python benchmarks/maml.py [--rounds 15] [--device cpu] [--output FILE]`
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from agreement import Computed, require_equal
from timing import compare, print_table, save
from torch import Tensor, nn

from metaexp.algorithms.maml import MAML
from metaexp.core.errors import ConfigError
from metaexp.core.losses import task_loss
from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode, Examples, map_tensors, one_task
from metaexp.engines.learn2learn import import_learn2learn
from metaexp.machine.device import raise_malloc_thresholds
from metaexp.models.omniglot_conv import OmniglotConv

N_TASKS, N_WAY, INNER_LR = 32, 5, 2.0
LEAST_GRADIENT = 1e-5
"""As a part of the whole gradient. Smaller ones are rounding alone, such as those of a bias in front of batch norm."""


def main(arguments: list[str] | None = None) -> int:
    """Run and print; exit code 0."""
    parser = argparse.ArgumentParser(prog="python benchmarks/maml.py", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    raise_malloc_thresholds()
    episodes = tasks(device)
    candidates = {
        "metaexp": update(ours(network(device), episodes, None)),
        "metaexp, first order": update(ours(network(device), episodes, None, first_order=True)),
        "metaexp, a loop over tasks": update(ours(network(device), episodes, 1)),
    }
    baseline = "metaexp, a loop over tasks"
    package = None
    try:
        package = import_learn2learn()
        theirs_own = package.vision.models.OmniglotCNN(N_WAY).to(device)
        candidates["learn2learn"] = update(theirs(package, theirs_own, episodes))
        candidates["learn2learn, our network"] = update(theirs(package, network(device), episodes))
        baseline = "learn2learn"
    except ConfigError as error:
        print(error)
    check_equal(package, device)
    results = compare(candidates, baseline, options.rounds)
    print_table("MAML, one meta-step of 32 tasks, Omniglot 5-way 1-shot", results, baseline)
    if options.output:
        save(options.output, "maml", results, rounds=options.rounds, baseline=baseline, device=str(device))
    return 0


def tasks(device: torch.device) -> Episode:
    """Random images; the arithmetic does not depend on what they show."""
    generator = torch.Generator().manual_seed(0)

    def draw() -> Examples:
        y = torch.stack([torch.randperm(N_WAY, generator=generator) for _ in range(N_TASKS)])
        x = (torch.rand(N_TASKS, N_WAY, 1, 28, 28, generator=generator) < 0.1).to(torch.get_default_dtype())
        return Examples(x.to(device), y.to(device), N_WAY)

    return Episode(draw(), draw())


def network(device: torch.device) -> OmniglotConv:
    """The paper's network."""
    torch.manual_seed(0)
    return OmniglotConv((1, 28, 28), N_WAY, 64, False, 1e-3, "tf_same", "normal", "mean").to(device)


class Side(NamedTuple):
    """One way to compute a meta-step.

    Attributes:
        module: Its parameters.
        backward: Adds the gradient of the mean meta-loss to ``.grad``, and returns that loss.
    """

    module: nn.Module
    backward: Callable[[], Tensor]


def ours(model: OmniglotConv, episodes: Episode, chunk_size: int | None, first_order: bool = False) -> Side:
    """The meta-step of this package."""
    algorithm = MAML(model, INNER_LR, 1, 1, first_order, "mean", "all", "transductive")

    def backward() -> Tensor:
        loss: Tensor = over_tasks(algorithm, episodes, chunk_size).mean()
        loss.backward()
        return loss.detach()

    return Side(model, backward)


def theirs(package: Any, model: nn.Module, episodes: Episode, first_order: bool = False) -> Side:
    """The same meta-step, written as learn2learn's own Omniglot example does."""
    wrapped = package.algorithms.MAML(model, lr=INNER_LR, first_order=first_order)

    def backward() -> Tensor:
        total = torch.zeros((), dtype=episodes.support.x.dtype, device=episodes.support.x.device)
        for index in range(N_TASKS):
            support, query = one_task(episodes, index)
            learner = wrapped.clone()
            learner.adapt(task_loss(learner(support.x), support.y))
            loss = task_loss(learner(query.x), query.y)
            loss.backward()
            total += loss.detach()
        for parameter in wrapped.parameters():
            parameter.grad.mul_(1.0 / N_TASKS)
        return total / N_TASKS

    return Side(model, backward)


def update(side: Side) -> Callable[[], object]:
    """A meta-step with Adam's update."""
    optimizer = torch.optim.Adam(side.module.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        side.backward()
        optimizer.step()

    return step


def check_equal(package: Any | None, device: torch.device) -> None:
    """Stop unless all ways give the same loss and gradients for the same weights, in float64.

    Args:
        package: learn2learn; None compares the ways of this package alone.
        device: Where to compute.

    Raises:
        SystemExit: Two of them differ by more than rounding.
    """
    exact = map_tensors(lambda t: t.double() if t.is_floating_point() else t, tasks(device))

    def model() -> OmniglotConv:
        return network(device).double()

    for first_order in (False, True):
        loop = ours(model(), exact, 1, first_order)
        others = {"all tasks at once": ours(model(), exact, None, first_order)}
        if package is not None:
            others["learn2learn"] = theirs(package, model(), exact, first_order)
        for name, side in others.items():
            compared = f"{name}{', first order' if first_order else ''}, and a loop over tasks"
            require_equal(compared, computed(side), computed(loop), LEAST_GRADIENT)


def computed(side: Side) -> Computed:
    """The loss of one way, and its gradients."""
    side.module.zero_grad()
    loss = side.backward()
    return loss, {name: p.grad.clone() for name, p in side.module.named_parameters() if p.grad is not None}


if __name__ == "__main__":
    raise SystemExit(main())
