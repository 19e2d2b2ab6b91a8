"""What a validation costs beside adapting to its tasks and predicting their queries.

Bare passes do only that, on tasks that were made before, all of one chunk together as in a validation. A validation
also makes the tasks, computes the metric, looks for side effects, and adapts to the first task twice more. The two are
timed in turn in one process, and the ratio is taken round by round. By the processor's clock and with one thread, other
work on the machine hardly disturbs it.

    python benchmarks/validation.py [EXPERIMENT ...] [--episodes 200] [--rounds 5] [--output FILE]
"""

from __future__ import annotations

import argparse

import torch
from own_process import experiments_parser, format_ratio, rows_of
from timing import compare, save
from torch import Tensor
from whole_runs import EXPERIMENTS

from metaexp.config.compose import Composer
from metaexp.core.losses import task_metric
from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode
from metaexp.machine.single_rank import SINGLE
from metaexp.run.build import TrainingSetup, set_up

GOAL = 1.1
TOLERANCE = 1e-5


def main(arguments: list[str] | None = None) -> int:
    """Run and print; exit code 0."""
    parser = experiments_parser(__doc__, __file__, EXPERIMENTS, threads=1, clock="processor")
    parser.add_argument("--episodes", type=int, default=200, help="validation tasks of a round")
    options = parser.parse_args(arguments)
    rows = rows_of(options, __file__, ["episodes", "rounds", "threads", "clock"], measure, format_ratio)
    if rows and options.output:
        save(options.output, "validation", rows, clock=options.clock, goal=GOAL, episodes=options.episodes)
    return 0


def measure(experiment: str, options: argparse.Namespace) -> dict[str, float]:
    """The time of a validation in parts of that of bare passes, with quartiles."""
    overrides = [f"experiment={experiment}", "tracker=files", "device=cpu", f"device.threads={options.threads}"]
    with set_up(Composer().settings(overrides), SINGLE, lambda _: None) as setup:
        evaluator, algorithm = setup.evaluator, setup.state.algorithm
        n = min(options.episodes, setup.settings.train.eval_episodes or options.episodes)
        chunks = bare_chunks(setup, n)
        check_equal(setup, chunks, n)
        candidates = {
            "bare": lambda: bare_passes(setup, chunks),
            "validation": lambda: evaluator.validate(algorithm, n, lambda _: None),
        }
        found = compare(candidates, "validation", options.rounds, warmup=1, clock=options.clock)["bare"]
    return {name: found[name] for name in ("ratio", "low", "high")}


def bare_chunks(setup: TrainingSetup, n: int) -> list[Episode]:
    """The first ``n`` validation tasks, in the chunks of a validation."""
    evaluator = setup.evaluator
    starts = range(0, n, evaluator.chunk)
    ranges = [torch.arange(start, min(start + evaluator.chunk, n), device=setup.compute.tasks_on) for start in starts]
    return [evaluator.source.episodes("val", indices) for indices in ranges]


def bare_passes(setup: TrainingSetup, chunks: list[Episode]) -> list[Tensor]:
    """Predictions (T, M, N) for the queries of each chunk, after adapting to its support sets."""
    algorithm = setup.state.algorithm
    algorithm.eval()

    def predict(episode: Episode) -> Tensor:
        return algorithm.predict(algorithm.adapt(episode.support), episode.query.x)

    with torch.no_grad():
        at_once = algorithm.tasks_at_once(chunks[0].support.x.shape[1], setup.evaluator.chunk)
        return [over_tasks(predict, chunk, at_once) for chunk in chunks]


def check_equal(setup: TrainingSetup, chunks: list[Episode], n: int) -> None:
    """Stop where the passes do not give the score of the validation: then they would not be the same work."""
    pairs = zip(bare_passes(setup, chunks), chunks, strict=True)
    scores = torch.cat([torch.func.vmap(task_metric)(found, chunk.query.y) for found, chunk in pairs])
    validated = setup.evaluator.validate(setup.state.algorithm, n, lambda _: None).mean
    if abs(scores.double().mean().item() - validated) > TOLERANCE * max(1.0, abs(validated)):
        raise SystemExit(f"bare passes score {scores.double().mean().item()}, the validation {validated}")


if __name__ == "__main__":
    raise SystemExit(main())
