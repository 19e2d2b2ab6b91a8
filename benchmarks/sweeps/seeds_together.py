"""Steps of several seeds trained together (``train.seeds``), against the same steps of separate runs.

Both are checked for equal gradients in float64 before anything is timed in float32. A step is everything: drawing the
tasks, gradient, clipping, optimiser, reading the loss. Validation and checkpoints, which each run makes for itself, are
not in it. The two take turns in one process. A shared machine disturbs two threads: `--clock processor --threads 1`
counts the processor's seconds instead.

    python benchmarks/sweeps/seeds_together.py [--rounds 15] [--threads 1] [--clock wall|processor] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from timing import CLOCKS, compare, print_table, save
from torch import Tensor

from metaexp.config.compose import Composer
from metaexp.core.errors import DataError
from metaexp.core.types import Episode, map_tensors
from metaexp.data.base import MetaDataset
from metaexp.doctor.differences import largest_difference
from metaexp.machine.device import Compute, use_device
from metaexp.machine.single_rank import SINGLE
from metaexp.machine.threads import cores
from metaexp.run.build import build, make_step
from metaexp.run.chunk_size import training_chunk
from metaexp.run.step import MetaStep
from metaexp.run.together.gradient import StackedGradient

CASES = {
    "maml_sinusoid": (2, 5, 10, 20),
    "maml_omniglot_mlp_5way_1shot": (2, 5),
    "maml_omniglot_mlp_5way_1shot train.meta_batch_size=4": (5,),
    "maml_omniglot_5way_1shot train.meta_batch_size=4": (3,),
}
"""An experiment with overrides -> numbers of seeds."""
TOLERANCE = 1e-10
"""How much gradients in float64 may differ, in parts of their norm."""
LEAST_GRADIENT = 1e-3
"""In parts of the whole gradient. Those of biases before batch norm are nothing but rounding."""


def main(arguments: list[str] | None = None) -> int:
    """Run and print; exit code 0."""
    parser = argparse.ArgumentParser(prog="python benchmarks/sweeps/seeds_together.py", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--note", default="", help="what the record should say of the machine, such as who shared it")
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    options = parser.parse_args(arguments)
    results: dict[str, Any] = {}
    for case, numbers in CASES.items():
        for n_seeds in numbers:
            name = f"{case}, {n_seeds} seeds"
            try:
                row = measure(case.split(), n_seeds, options)
            except DataError as error:
                print(f"{name}: left out, {error}")
                continue
            results[name] = row
            print_table(name, {"together": row}, "separate")
    if options.output:
        about = {
            "cores": cores(),
            "load": os.getloadavg()[0],
            "rounds": options.rounds,
            "clock": options.clock,
            "note": options.note,
        }
        save(options.output, "seeds_together", results, baseline="separate runs", **about)
    return 0


def measure(case: Sequence[str], n_seeds: int, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of a step of all seeds together, and how many times as fast it is as separate steps."""
    experiment, *more = case
    given = [f"experiment={experiment}", *more, "device=cpu", f"device.threads={options.threads}"]
    composer = Composer()
    settings = [composer.settings([*given, f"seed={seed}"]) for seed in range(n_seeds)]
    with use_device(settings[0].device) as compute:
        data: list[MetaDataset] = []

        def made() -> list[MetaStep]:
            return [_step(each, compute, data) for each in settings]

        def stacked(steps: list[MetaStep]) -> StackedGradient:
            shape, tasks = tuple(data[0].input_shape), n_seeds * steps[0].tasks
            chunk = training_chunk(settings[0].train.shape, shape, steps[0].algorithm, compute, tasks)
            return StackedGradient(steps, chunk)

        together, separate = made(), made()
        differ = difference(together, stacked(_in_double(together)), _in_double(separate))
        assert differ < TOLERANCE, f"gradients differ by {differ:.2g}"
        together, separate = made(), made()
        candidates = {"separate": _turns(separate, None), "together": _turns(together, stacked(together))}
        row = compare(candidates, "separate", options.rounds, clock=options.clock)["together"]
    return {**row, "gradients_differ": differ}


def _step(settings: Any, compute: Compute, data: list[MetaDataset]) -> MetaStep:
    """The steps of one seed. The data are loaded once."""
    parts = build(settings, compute, print, dataset=data[0] if data else None)
    data[:] = [parts.dataset]
    step = make_step(settings, parts, compute, SINGLE)
    assert step is not None
    return step


def _turns(steps: list[MetaStep], gradient: StackedGradient | None) -> Callable[[], None]:
    """Makes the next step of every seed."""
    made = [0]

    def turn() -> None:
        number = made[0]
        made[0] += 1
        if gradient is None:
            results = [step.run(number) for step in steps]
        else:
            means = gradient.compute(number)
            results = [step.apply(number, mean) for step, mean in zip(steps, means, strict=True)]
        for result in results:
            result.losses.tolist(), result.gradient_norm.item()

    return turn


def difference(together: list[MetaStep], gradient: StackedGradient, separate: list[MetaStep]) -> float:
    """The largest difference of a gradient of a run in step 0, in parts of its norm."""
    gradient.compute(0)
    for step in separate:
        step.compute_mean(0)
    pairs = zip(together, separate, strict=True)
    return max(largest_difference(_gradients(a), _gradients(b), LEAST_GRADIENT)[1] for a, b in pairs)


def _gradients(step: MetaStep) -> dict[str, Tensor]:
    return {name: p.grad for name, p in step.algorithm.named_parameters() if p.grad is not None}


def _in_double(steps: list[MetaStep]) -> list[MetaStep]:
    for step in steps:
        step.algorithm.double()
        step.buffers = dict(step.algorithm.named_buffers())
        episodes = step.source.episodes

        def doubled(split: Any, indices: Tensor, episodes: Any = episodes) -> Episode:
            found: Episode = map_tensors(lambda t: t.double() if t.is_floating_point() else t, episodes(split, indices))
            return found

        step.source.episodes = doubled  # type: ignore[method-assign]
    return steps


if __name__ == "__main__":
    raise SystemExit(main())
