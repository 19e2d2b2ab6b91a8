"""One meta-step of MAML on Omniglot-shaped tasks: metaexp against learn2learn, and vectorised against a loop.

The published setting: the strided network with 64 filters, 32 tasks of 5-way 1-shot with 1 query per class, one
inner step, second order. Forward, backward and Adam's update are in the time; making the episodes is not.
`python benchmarks/maml.py [--rounds 15] [--device cpu] [--output FILE]`
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from timing import compare, print_table, save

from metaexp.algorithms.maml import MAML
from metaexp.core.errors import ConfigError
from metaexp.core.losses import task_loss
from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode, Examples, one_task
from metaexp.engines.learn2learn import import_learn2learn
from metaexp.machine.device import raise_malloc_thresholds
from metaexp.models.omniglot_conv import OmniglotConv

N_TASKS, N_WAY, INNER_LR = 32, 5, 2.0


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
    candidates: dict[str, Callable[[], object]] = {
        "metaexp": ours(network(device), episodes, chunk_size=None),
        "metaexp, first order": ours(network(device), episodes, chunk_size=None, first_order=True),
        "metaexp, a loop over tasks": ours(network(device), episodes, chunk_size=1),
    }
    baseline = "metaexp, a loop over tasks"
    try:
        package = import_learn2learn()
        candidates["learn2learn"] = theirs(package, package.vision.models.OmniglotCNN(N_WAY).to(device), episodes)
        candidates["learn2learn, our network"] = theirs(package, network(device), episodes)
        baseline = "learn2learn"
    except ConfigError as error:
        print(error)
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


def ours(
    model: OmniglotConv, episodes: Episode, chunk_size: int | None, first_order: bool = False
) -> Callable[[], object]:
    """A meta-step of this package."""
    algorithm = MAML(model, INNER_LR, 1, 1, first_order, "mean", "all", "transductive")
    optimizer = torch.optim.Adam(algorithm.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        over_tasks(algorithm, episodes, chunk_size).mean().backward()
        optimizer.step()

    return step


def theirs(package: object, model: torch.nn.Module, episodes: Episode) -> Callable[[], object]:
    """The same meta-step, written as learn2learn's own Omniglot example does."""
    wrapped = package.algorithms.MAML(model, lr=INNER_LR, first_order=False)  # type: ignore[attr-defined]
    optimizer = torch.optim.Adam(wrapped.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        for index in range(N_TASKS):
            support, query = one_task(episodes, index)
            learner = wrapped.clone()
            learner.adapt(task_loss(learner(support.x), support.y))
            task_loss(learner(query.x), query.y).backward()
        for parameter in wrapped.parameters():
            parameter.grad.mul_(1.0 / N_TASKS)
        optimizer.step()

    return step


if __name__ == "__main__":
    raise SystemExit(main())
