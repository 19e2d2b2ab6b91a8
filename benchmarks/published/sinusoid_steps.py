"""What further gradient steps do to sinusoids: how many tasks they help, and how few decide the mean.

Committed weights of all seeds are tested after 1, 5 and 10 steps, also where the error of some tasks is not finite, so
that `metaexp evaluate` refuses the test::

    python benchmarks/published/sinusoid_steps.py --measure --page docs/ablations.md
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import timing
import torch
from ablations import RESULTS
from pages import page_parser, write_page
from torch import Tensor

import metaexp as mx
from metaexp.core.losses import task_metric
from metaexp.core.metric import format_digits
from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode
from metaexp.report.rows import SEED_SUFFIX
from metaexp.results.display.markdown import between_markers, format_table

RECORD = Path(__file__).resolve().parents[1] / "records" / "sinusoid_steps.json"
STEPS: Final = (1, 5, 10)
PUBLISHED: Final = {"maml_sinusoid": (0.67, 0.38, 0.35), "fine_tune_sinusoid": (2.41, 2.23, 2.19)}
"""Finn, Abbeel & Levine (2017), Table 2, after these steps: MAML, and the network that was pre-trained."""
_LEARNERS: Final = {"maml_sinusoid": "MAML", "fine_tune_sinusoid": "pre-trained"}
_NUMBER_OF_STEPS: Final = {"maml_sinusoid": "inner_steps_test", "fine_tune_sinusoid": "tune_steps"}
_TASKS: Final = 10_000
_TASKS_OF_PAPER: Final = 600
_LARGE: Final = 100.0
"""A larger error is far off: an output of zero has at most 25, the square of the largest amplitude."""
_AT_ONCE: Final = 500


def runs_of(row: str) -> list[str]:
    """Return the names of the published runs of all seeds of a row."""
    return sorted(path.name for path in RESULTS.glob(f"{row}*") if SEED_SUFFIX.sub("", path.name) == row)


def errors(run: str, n_tasks: int = _TASKS) -> list[list[float]]:
    """Test the weights of a run.

    Args:
        run: Its name in docs/results.
        n_tasks: How many of its test tasks.

    Returns:
        The errors of all tasks after 0, 1, ... steps (steps + 1, n_tasks); not finite where a task has diverged.
    """
    algorithm = mx.load_run(RESULTS / run).algorithm()
    setattr(algorithm, _NUMBER_OF_STEPS[SEED_SUFFIX.sub("", run)], max(STEPS))

    def after_steps(episode: Episode) -> Tensor:
        path = algorithm.adaptation_path(episode.support)
        return torch.stack([task_metric(algorithm.predict(a, episode.query.x), episode.query.y) for a in path])

    episodes = mx.dataset("sinusoid", "task=regression_5shot", "task.n_query=5").episodes("test", range(n_tasks))
    found: list[list[float]] = over_tasks(after_steps, episodes, _AT_ONCE).double().T.tolist()
    return found


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Return what the page says of the errors of all tasks after some steps. A mean that is not finite is null."""
    near = [value for value in values if value <= _LARGE]  # NaN is not
    return {
        "mean": _finite(statistics.fmean(values)),
        "mean_of_first": _finite(statistics.fmean(values[:_TASKS_OF_PAPER])),
        "mean_without_far": statistics.fmean(near),
        "median": statistics.median([value if value <= _LARGE else math.inf for value in values]),
        "far": len(values) - len(near),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def measure(row: str) -> dict[str, Any]:
    """Test the weights of all seeds of a row: run -> steps -> summary."""
    torch.set_num_threads(1)
    found = {}
    for run in runs_of(row):
        after = errors(run)
        found[run] = {str(step): summary(after[step]) for step in STEPS}
    return found


def format_results(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return the table: the lowest and the highest seed of each quantity."""
    titles = [
        "learner", "steps", "published", "mean of 10,000 tasks", f"of the first {_TASKS_OF_PAPER}",
        f"of those up to {_LARGE:g}", "median", f"tasks above {_LARGE:g}",
    ]  # fmt: skip
    rows = []
    for row, seeds in found.items():
        for step, published in zip(STEPS, PUBLISHED[row], strict=True):
            of_seeds = [seed[str(step)] for seed in seeds.values()]
            means = [_span(of_seeds, key) for key in ("mean", "mean_of_first", "mean_without_far", "median")]
            counts = sorted(seed["far"] for seed in of_seeds)
            far = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
            rows.append([_LEARNERS[row], str(step), f"{published}", *means, far])
    return format_table(titles, rows, right=range(1, len(titles)))


def _span(of_seeds: Sequence[Mapping[str, Any]], key: str) -> str:
    """The lowest and the highest value of the seeds."""
    finite = sorted(seed[key] for seed in of_seeds if seed[key] is not None)
    if not finite:
        return "not finite"
    highest = format_digits(finite[-1]) if len(finite) == len(of_seeds) else "not finite"
    return f"{format_digits(finite[0])} to {highest}"


def on_page(text: str, record: Mapping[str, Any]) -> str:
    """Return the text of the page with the table of a record."""
    return between_markers(text, "sinusoid_steps", format_results(record["results"]))


def main(arguments: list[str] | None = None) -> int:
    """Measure, or read the record, and write the page; exit code 0, or 1 where ``--check`` finds it stale."""
    parser = page_parser(__doc__, "docs/ablations.md")
    parser.add_argument("--measure", action="store_true", help="test the weights of all seeds and write the record")
    options = parser.parse_args(arguments)
    if options.measure:
        timing.save(RECORD, "sinusoid_steps", {row: measure(row) for row in PUBLISHED})
    return write_page(options, lambda text: on_page(text, json.loads(RECORD.read_bytes())))


if __name__ == "__main__":
    sys.exit(main())
