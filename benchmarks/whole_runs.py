"""What a run costs beside its bare steps: the loop, evaluation, data from the cache, and its start.

For each experiment, in a process of its own. Experiments whose data do not lie in METAEXP_DATA or the cache are left
out:

* loop: the time of a step of the training loop, divided by that of a bare one (loss and gradient of tasks made before,
  and the optimiser). The two are timed in turn, in rounds of half a second or more: what a loop does at its beginning
  and end is rare in a run, too. The loop also makes tasks, checks, clips, counts and logs; validations and checkpoints
  are not in it. Goal: 1.05.
* episodes: validation episodes a second.
* cache: seconds to load the data once they are cached. Goal: 0.3.

The loop and the episodes have the quartiles of their rounds beside the median.

Then the start: seconds from the command to the line in metrics.jsonl about the first step of a run on made-up data, all
imports in it, without a tracker and with W&B offline, which is the default. Goal: 3. At last the demo, which is
`metaexp train` without more, on a machine that has not drawn its data yet. Goal: 45.

    python benchmarks/whole_runs.py [EXPERIMENT ...] [--steps 5] [--rounds 5] [--clock wall|processor] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from own_process import experiments_parser, measured
from timing import CLOCKS, quartiles, save

from metaexp.config.compose import Composer
from metaexp.core.json_lines import METRICS_FILE
from metaexp.machine.signals import StopRequest
from metaexp.machine.single_rank import SINGLE
from metaexp.machine.stopwatch import Stopwatch
from metaexp.run.build import TrainingSetup, load_dataset, set_up
from metaexp.run.outputs import NoOutputs
from metaexp.run.train import Trainer

EXPERIMENTS = (
    "maml_omniglot_5way_1shot",
    "maml_omniglot_20way_5shot",
    "maml_plus_plus_omniglot_5way_1shot",
    "meta_sgd_omniglot_5way_1shot",
    "anil_omniglot_20way_1shot",
    "reptile_omniglot_5way_1shot",
    "meta_lstm_omniglot_5way_1shot",
    "relation_net_omniglot_5way_1shot",
    "proto_net_omniglot_5way_1shot",
    "matching_net_omniglot_5way_1shot",
    "fine_tune_omniglot_5way_1shot",
    "nearest_neighbour_omniglot_5way_1shot",
    "maml_sinusoid",
)
GOALS = {"loop": 1.05, "cache": 0.3, "start": 3.0, "demo": 45.0}
ROUND_SECONDS = 0.5
SHORT = ("algorithm=maml", "dataset=glyphs", "train.steps=2", "train.log_every=1", "eval.test=false", "device=cpu")
TRACKERS = {"files": ("tracker=files",), "wandb": ("tracker=wandb", "tracker.wandb.mode=offline")}


class Loop(Trainer):
    """The training loop without validations and checkpoints."""

    def __init__(self, setup: TrainingSetup) -> None:
        """Train with ``setup``, and write nothing."""
        outputs = NoOutputs()
        super().__init__(setup, outputs, outputs.checkpoints, StopRequest(), Stopwatch(), {})

    def take(self, steps: int) -> None:
        """Take ``steps`` more steps."""
        self.total = self.state.step + steps
        self.run()

    def _validate(self) -> bool:
        return True

    def _save(self) -> None:
        self._read()


def main(arguments: list[str] | None = None) -> int:
    """Run and print; exit code 0."""
    parser = experiments_parser(__doc__, __file__, EXPERIMENTS, threads=torch.get_num_threads(), clock="wall")
    parser.add_argument("--steps", type=int, default=5, help="the fewest steps of a round")
    parser.add_argument("--note", default="", help="what the record should say of the machine, such as who shared it")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.here:
        print(json.dumps(measure(options.experiments[0], options)))
        return 0
    print(f"{'':40s}{'loop':>8s}{'episodes/s':>12s}{'cache':>9s}")
    rows: dict[str, Any] = {}
    for experiment, row in measured(options, __file__, ["steps", "rounds", "threads", "clock"]):
        rows[experiment] = row
        print(
            f"{experiment:40s}{row['loop']['median'] if row['loop'] else 0:8.3f}"
            f"{row['episodes_per_second']['median']:12.1f}{row['cache_seconds']:7.2f} s",
            flush=True,
        )
    start = {tracker: time_to_first_step(*overrides) for tracker, overrides in TRACKERS.items()}
    for tracker, seconds in start.items():
        print(f"first step with {tracker}: {seconds['median']:.2f} s, goal {GOALS['start']:.0f} s")
    demo = spread([time_of_demo() for _ in range(3)])
    print(f"demo: {demo['median']:.1f} s, goal {GOALS['demo']:.0f} s")
    if options.output:
        once = {"first_step_seconds": start, "demo_seconds": demo}
        save(options.output, "whole_runs", rows, clock=options.clock, goals=GOALS, note=options.note, **once)
    return 0


def measure(experiment: str, options: argparse.Namespace) -> dict[str, Any]:
    """All numbers of one experiment, in this process."""
    overrides = [f"experiment={experiment}", "tracker=files", "device=cpu", f"device.threads={options.threads}"]
    settings = Composer().settings(overrides)
    now = CLOCKS[options.clock]

    def seconds(run: Callable[[], object]) -> float:
        start = now()
        run()
        return now() - start

    with set_up(settings, SINGLE, lambda _: None) as setup:
        cache = statistics.median(
            seconds(lambda: load_dataset(settings, setup.compute, lambda _: None)) for _ in range(3)
        )
        loop = None if setup.step is None else loop_over_bare(setup, options, seconds)
        evaluator, n_episodes = setup.evaluator, min(setup.evaluator.chunk, 32)
        rates = [
            n_episodes / seconds(lambda: evaluator.validate(setup.state.algorithm, n_episodes, lambda _: None))
            for _ in range(options.rounds)
        ]
    return {
        "loop": loop,
        "episodes_per_second": spread(rates),
        "cache_seconds": cache,
    }


def loop_over_bare(
    setup: TrainingSetup, options: argparse.Namespace, seconds: Callable[[Callable[[], object]], float]
) -> dict[str, float]:
    """The time of a step of the loop, in parts of a bare one of the same round."""
    step = setup.step
    assert step is not None
    episodes = step.source.episodes("train", step.indices(0))
    loop = Loop(setup)

    def bare(steps: int) -> None:
        for _ in range(steps):
            step.optimizer.zero_grad()
            step.backward(episodes)
            step.optimizer.step()

    bare(options.steps)
    loop.take(1)
    steps = max(options.steps, math.ceil(ROUND_SECONDS * options.steps / seconds(lambda: bare(options.steps))))
    ratios = []
    for _ in range(options.rounds):
        plain = seconds(lambda: bare(steps))
        ratios.append(seconds(lambda: loop.take(steps)) / plain)
    return spread(ratios)


def time_to_first_step(*overrides: str) -> dict[str, float]:
    """Seconds of five runs, from the command to the line about the first step. Wall-clock time."""
    taken = []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            command = [sys.executable, "-m", "metaexp", "train", f"hydra.run.dir={run}", *SHORT, *overrides]
            start = time.perf_counter()
            started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while not has_a_line(run / METRICS_FILE) and started.poll() is None:
                time.sleep(0.002)
            taken.append(time.perf_counter() - start)
            if started.wait():
                raise SystemExit(f"{' '.join(command)} failed")
    return spread(taken)


def time_of_demo() -> float:
    """Seconds that `metaexp train` takes from an empty folder and an empty cache. Wall-clock time."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "metaexp", "train", f"hydra.run.dir={folder}/run"]
        start = time.perf_counter()
        environment = {**os.environ, "XDG_CACHE_HOME": folder}
        subprocess.run(command, check=True, cwd=folder, env=environment, capture_output=True)
        return time.perf_counter() - start


def spread(values: list[float]) -> dict[str, float]:
    """The median of ``values`` and their quartiles."""
    low, median, high = quartiles(values)
    return {"median": median, "low": low, "high": high}


def has_a_line(path: Path) -> bool:
    """Whether a file is there and not empty."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


if __name__ == "__main__":
    raise SystemExit(main())
