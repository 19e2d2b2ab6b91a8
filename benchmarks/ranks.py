"""Steps of MAML on Omniglot-shaped tasks by several processes, against one.

The setting is that of the benchmark ``maml``: 32 tasks of 5-way 1-shot, one inner step, second order. One process with
one thread is the baseline; then one process with every core, and N processes that divide the cores. The processes
start again in every round, and only their updates are timed: episodes, forward, backward, all-reduce, Adam.
`python benchmarks/ranks.py [--ranks 2] [--updates 10] [--rounds 5] [--output FILE]`
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))

from maml import INNER_LR, N_TASKS, network, tasks
from timing import print_table, save, summary

from metaexp.algorithms.maml import MAML
from metaexp.core.optim import Constant, NoClip
from metaexp.core.shapes import Split
from metaexp.core.types import Episode, Examples
from metaexp.data.base import TaskSource
from metaexp.machine.device import Compute, raise_malloc_thresholds
from metaexp.machine.launch import launched
from metaexp.machine.ranks import join_ranks
from metaexp.machine.single_rank import SINGLE, Ranks
from metaexp.run.step import MetaStep

_WARMUP = 2


class Setting(NamedTuple):
    """Processes, and threads of each."""

    ranks: int
    threads: int

    def __str__(self) -> str:
        return f"{_several(self.ranks, 'process')} of {_several(self.threads, 'thread')}"


class Prepared(TaskSource):
    """The same 32 random tasks in every update."""

    def __init__(self) -> None:
        self.all = tasks(torch.device("cpu"))

    def episodes(self, split: Split, indices: Tensor) -> Episode:
        at = indices % N_TASKS
        return Episode(*(Examples(part.x[at], part.y[at], part.n_way) for part in self.all))

    def bank_hash(self, split: Split, n_episodes: int) -> str:
        return ""


def main(arguments: list[str] | None = None) -> int:
    """Run and print; exit code 0."""
    parser = argparse.ArgumentParser(prog="python benchmarks/ranks.py", description=__doc__)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    options = parser.parse_args(arguments)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    baseline = Setting(1, 1)
    settings = list(
        dict.fromkeys([baseline, Setting(1, cores), Setting(options.ranks, max(1, cores // options.ranks))])
    )
    if cores < options.ranks:
        print(f"{options.ranks} processes on {_several(cores, 'core')} cannot be faster than one.")
    taken: dict[Setting, list[float]] = {setting: [] for setting in settings}
    for _ in range(options.rounds):
        for setting in settings:
            taken[setting].append(launch(setting, options.updates))
    results = {str(setting): summary(taken[baseline], times) for setting, times in taken.items()}
    print_table("MAML, one step of 32 tasks, Omniglot 5-way 1-shot", results, str(baseline))
    if options.output:
        save(options.output, "ranks", results, rounds=options.rounds, baseline=str(baseline), cores=cores)
    return 0


def launch(setting: Setting, updates: int) -> float:
    """Start the processes; returns the median seconds of an update on the first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = []
    for rank in range(setting.ranks):
        place = {"RANK": rank, "WORLD_SIZE": setting.ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        started.append(
            subprocess.Popen(
                [sys.executable, __file__, str(setting.threads), str(updates)],
                env=os.environ | {key: str(value) for key, value in place.items()},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    outputs = [process.communicate()[0] for process in started]
    for process in started:
        if process.returncode:
            raise RuntimeError(f"a process ended with code {process.returncode}")
    return float(statistics.median(json.loads(outputs[0])))


def work(threads: int, updates: int) -> None:
    """One process: print the seconds of each update."""
    torch.set_num_threads(threads)
    raise_malloc_thresholds()
    place = launched()
    if place is None:
        print(json.dumps(times(SINGLE, threads, updates)))
    else:
        with join_ranks(place) as group:
            print(json.dumps(times(group, threads, updates)))


def times(ranks: Ranks, threads: int, updates: int) -> list[float]:
    """The seconds of each update after a few to warm up."""
    algorithm = MAML(network(torch.device("cpu")), INNER_LR, 1, 1, False, "mean", "all", "transductive")
    optimizer = torch.optim.Adam(algorithm.parameters(), lr=1e-3)
    compute = Compute(torch.device("cpu"), "cpu", "float32", threads, False, None)
    step = MetaStep(
        algorithm, Prepared(), optimizer, Constant(), NoClip(), compute, N_TASKS, updates + _WARMUP, 0, ranks
    )
    found = []
    for number in range(updates + _WARMUP):
        start = time.perf_counter()
        step.run(number)
        found.append(time.perf_counter() - start)
    return found[_WARMUP:]


def _several(count: int, what: str) -> str:
    plural = {"process": "processes"}.get(what, f"{what}s")
    return f"{count} {what if count == 1 else plural}"


if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]))
