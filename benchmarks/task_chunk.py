"""How fast a training step is if tasks are computed one at a time, beside all of them at once, on a CPU.

Each experiment is set up twice in one process, with ``device.task_chunk=1`` and with the tasks of a whole step, and the
two take steps in turn. First their gradients are compared, in float64: in float32 the pooling of flat made-up images,
which take the place of mini-ImageNet, chooses among equal numbers by rounding.

    python benchmarks/task_chunk.py [EXPERIMENT ...] [--threads 2] [--rounds 5] [--output FILE]
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from functools import partial

import torch
from own_process import experiments_parser, format_ratio, rows_of
from timing import compare, save
from torch import Tensor

from metaexp.config.compose import Composer
from metaexp.core.algorithm import Algorithm
from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode
from metaexp.data.base import TaskSource
from metaexp.machine.single_rank import SINGLE
from metaexp.run.build import set_up

EXPERIMENTS = [
    f"{learner}_mini_imagenet_5way_{shots}shot"
    for learner in ("maml", "maml_first_order", "meta_sgd", "maml_plus_plus")
    for shots in (1, 5)
]
TOLERANCE = 1e-10


def main(arguments: list[str] | None = None) -> int:
    """Run and print; exit code 0."""
    parser = experiments_parser(__doc__, __file__, EXPERIMENTS, threads=2, clock="wall")
    options = parser.parse_args(arguments)
    rows = rows_of(options, __file__, ["threads", "rounds", "clock"], measure, format_ratio)
    if rows and options.output:
        save(options.output, "task_chunk", rows, clock=options.clock, rounds=options.rounds)
    return 0


def measure(experiment: str, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of a step with one task at a time, and how many times as fast it is as all tasks at once."""
    own = ["dataset.stand_in=true", "tracker=files", "device=cpu"]
    own.append(f"device.threads={options.threads}")
    check_equal(experiment, own)
    with ExitStack() as stack:
        setups = {}
        for name, chunk in (("one", "1"), ("all", "1024")):
            settings = Composer().settings([f"experiment={experiment}", *own, f"device.task_chunk={chunk}"])
            setups[name] = stack.enter_context(set_up(settings, SINGLE, lambda _: None))
        candidates = {name: partial(setup.step.run, 0) for name, setup in setups.items() if setup.step is not None}
        return dict(compare(candidates, "all", options.rounds, warmup=1, clock=options.clock)["one"])


def check_equal(experiment: str, own: list[str]) -> None:
    """Stop where one task at a time and two at once give different gradients: then they would not be the same work."""
    with set_up(Composer().settings([f"experiment={experiment}", *own]), SINGLE, lambda _: None) as setup:
        assert setup.step is not None
        algorithm = setup.state.algorithm.double()
        found, expected = (gradient_of(algorithm, setup.step.source, chunk) for chunk in (1, 2))
    gap = ((found - expected).norm() / expected.norm()).item()
    if not gap <= TOLERANCE:
        raise SystemExit(f"the gradients differ by a part of {gap:.1e}")


def gradient_of(algorithm: Algorithm, source: TaskSource, chunk: int) -> Tensor:
    """The gradient of two tasks, of all parameters together (P,), ``chunk`` tasks at a time."""
    support, query = source.episodes("train", torch.arange(2))
    episodes = Episode(*(part._replace(x=part.x.double()) for part in (support, query)))
    algorithm.zero_grad()
    algorithm.train()
    torch.manual_seed(0)
    over_tasks(algorithm, episodes, chunk).sum().backward()
    gradients = [parameter.grad for parameter in algorithm.parameters() if parameter.grad is not None]
    return torch.cat([gradient.flatten() for gradient in gradients])


if __name__ == "__main__":
    raise SystemExit(main())
