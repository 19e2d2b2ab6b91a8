"""Steps per second of a whole machine: one job with a thread per core, against a job with one thread on each core.

Both kinds of jobs make ordinary training steps for some seconds, in turn. Besides the ratio by the wall's clock, there
is one by the processor's: steps per processor second, which other work on the machine disturbs less. It favours the
job with many threads, as if its threads never waited.

    python benchmarks/sweeps/threads.py [--rounds 5] [--seconds 4] [--note TEXT] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import timing

from metaexp.config.compose import Composer
from metaexp.core.errors import DataError
from metaexp.machine.device import use_device
from metaexp.machine.single_rank import SINGLE
from metaexp.machine.threads import cores
from metaexp.run.build import build, make_step

EXPERIMENTS = (
    "maml_sinusoid",
    "maml_omniglot_mlp_5way_1shot",
    "maml_omniglot_5way_1shot",
    "proto_net_omniglot_5way_1shot",
    "relation_net_omniglot_5way_1shot",
)


def main(arguments: list[str] | None = None) -> int:
    """Run and print; exit code 0."""
    parser = argparse.ArgumentParser(prog="python benchmarks/sweeps/threads.py", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each kind of job runs in a round")
    parser.add_argument("--note", default="", help="what the record should say of the machine, such as who shared it")
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    parser.add_argument("--job", nargs=2, metavar=("EXPERIMENT", "THREADS"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.job:
        return job(options.job[0], int(options.job[1]), options.seconds)
    load = os.getloadavg()[0]
    results = {name: row for name in EXPERIMENTS if (row := measure(name, options.rounds, options.seconds))}
    if options.output:
        about = {"cores": cores(), "load": load, "rounds": options.rounds, "seconds": options.seconds}
        timing.save(options.output, "sweep_threads", results, baseline="one job", note=options.note, **about)
    return 0


def measure(experiment: str, rounds: int, seconds: float) -> dict[str, Any]:
    """Steps per second of both, and how many times as many the jobs with one thread make."""
    many = [start(experiment, 1, seconds) for _ in range(cores())]
    one = [start(experiment, cores(), seconds)]
    if not all(process.stdout and process.stdout.readline() == "ready\n" for process in [*many, *one]):
        print(f"{experiment}: left out, its data are not there")
        return {}
    rates: dict[str, list[tuple[float, float]]] = {"one job": [], "a job per core": []}
    for _ in range(rounds):
        rates["one job"].append(take_turn(one))
        rates["a job per core"].append(take_turn(many))
    for process in [*many, *one]:
        process.kill()
        process.wait()
    seconds_of = [[[1 / rate[clock] for rate in found] for found in rates.values()] for clock in (0, 1)]
    wall, processor = (timing.summary(*clock) for clock in seconds_of)
    row = {
        "steps_per_second": {name: sorted(wall for wall, _ in found)[rounds // 2] for name, found in rates.items()},
        **{key: wall[key] for key in ("ratio", "low", "high")},
        "ratio_by_processor": processor["ratio"],
    }
    print(experiment, row, flush=True)
    return row


def start(experiment: str, threads: int, seconds: float) -> subprocess.Popen[str]:
    """Start a job, which waits for its turns."""
    command = [sys.executable, __file__, "--job", experiment, str(threads), "--seconds", str(seconds)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def take_turn(jobs: Sequence[subprocess.Popen[str]]) -> tuple[float, float]:
    """Steps per second of all jobs together: of the wall, and of the processor."""
    for process in jobs:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    found = [json.loads(process.stdout.readline()) for process in jobs if process.stdout]
    steps = sum(row["steps"] for row in found)
    return sum(row["steps"] / row["wall"] for row in found), steps / sum(row["processor"] for row in found)


def job(experiment: str, threads: int, seconds: float) -> int:
    """Make steps for some seconds whenever a line comes."""
    settings = Composer().settings([f"experiment={experiment}", "device=cpu", f"device.threads={threads}"])
    with use_device(settings.device) as compute:
        try:
            step = make_step(settings, build(settings, compute, lambda _: None), compute, SINGLE)
        except DataError as error:
            print(error)
            return error.exit_code
        assert step is not None
        for number in range(3):
            step.run(number)
        print("ready", flush=True)
        done = 3
        for _ in sys.stdin:
            first, began, used = done, time.perf_counter(), time.process_time()
            while time.perf_counter() - began < seconds:
                step.run(done).losses.tolist()
                done += 1
            wall, processor = time.perf_counter() - began, time.process_time() - used
            print(json.dumps({"steps": done - first, "wall": wall, "processor": processor}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
