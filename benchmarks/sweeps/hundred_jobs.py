"""A sweep of 100 jobs of one second each, as a whole command, and the memory of one more worker.

A job trains as many steps as take one second of one thread, measured first; it also starts, validates, tests, draws
its figures and writes its record. As many jobs run at once as there are cores, with one thread each. Goal: 90 seconds
on 2 cores. On a shared machine the wall's seconds say little, so the processor's are given too, divided by the cores:
what the command takes where nothing else runs, if no core idles.

An extra worker's memory (PSS) is compared with that of one run in a process of its own. Goal: at most 1.2 times it.

The command runs several times, and the record has the median with the fastest and the slowest.

    python benchmarks/sweeps/hundred_jobs.py [--jobs 100] [--rounds 3] [--note TEXT] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import timing
from startup import JOB, mebibytes, spent

from metaexp.config.compose import Composer
from metaexp.machine.device import use_device
from metaexp.machine.single_rank import SINGLE
from metaexp.machine.threads import cores
from metaexp.run.build import build, make_step

SECONDS_OF_A_JOB = 1.0
GOALS = {"seconds": 90.0, "extra_worker": 1.2}
RECORD = Path(__file__).resolve().parents[1] / "records" / "sweep_hundred.json"


def main(n_jobs: int, rounds: int, note: str, output: Path) -> None:
    """Measure, print and write the record."""
    output = output.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        load = os.getloadavg()[0]
        steps = steps_of_a_job()
        taken = [command(n_jobs, steps, f"hundred-{number}") for number in range(rounds)]
        memory = {how: mebibytes(fork=how == "forked") for how in ("spawned", "forked")}
        os.chdir("/")
    one_run = memory["spawned"][0]
    extra = {how: max(b - a for a, b in pairwise(found)) / one_run for how, found in memory.items()}
    results: dict[str, Any] = {key: spread([found[key] for found in taken]) for key in taken[0]}
    results |= {"extra_worker": extra["forked"], "extra_spawned_worker": extra["spawned"]}
    holds = {
        "seconds": results["wall_seconds"]["median"] <= GOALS["seconds"] if n_jobs == 100 else None,
        "seconds_of_idle_cores": (
            results["processor_seconds_per_core"]["median"] <= GOALS["seconds"] if n_jobs == 100 else None
        ),
        "extra_worker": max(extra.values()) <= GOALS["extra_worker"],
    }
    print(results, holds)
    about = {
        "cores": cores(),
        "load": load,
        "jobs": n_jobs,
        "rounds": rounds,
        "steps_of_a_job": steps,
        "memory_mib": memory,
    }
    timing.save(output, "sweep_hundred", results, note=note, goals=GOALS, holds=holds, **about)


def steps_of_a_job() -> int:
    """How many bare steps take one second of the processor, on one thread."""
    settings = Composer().settings([*JOB, "train.steps=1000000"])
    with use_device(settings.device) as compute:
        step = make_step(settings, build(settings, compute, print), compute, SINGLE)
        assert step is not None
        for number in range(20):
            step.run(number)
        began, done = time.process_time(), 0
        while time.process_time() - began < SECONDS_OF_A_JOB:
            step.run(20 + done)
            done += 1
    return done


def command(n_jobs: int, steps: int, place: str) -> dict[str, float]:
    """Seconds of the whole sweep, of the wall and of the processor."""
    own = [line for line in JOB if not line.startswith(("train.steps", "train.eval_every"))]
    more = [f"train.steps={steps}", f"train.eval_every={steps}", f"train.checkpoint_every={steps}"]
    more += [f"seed=range(0,{n_jobs})", f"sweep.n_jobs={cores()}", f"hydra.sweep.dir={place}"]
    began, before = time.perf_counter(), spent()
    called = [sys.executable, "-m", "metaexp", "train", "-m", *own, *more]
    subprocess.run(called, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, processor = time.perf_counter() - began, spent() - before
    print(f"{wall:.1f} s, {processor:.1f} s of the processor", flush=True)
    return {
        "wall_seconds": wall,
        "processor_seconds": processor,
        "processor_seconds_per_core": processor / cores(),
    }


def spread(found: list[float]) -> dict[str, float]:
    """Median, fastest and slowest."""
    return {"median": statistics.median(found), "low": min(found), "high": max(found)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--note", default="", help="what the record should say of the machine, such as who shared it")
    parser.add_argument("--output", type=Path, default=RECORD)
    given = parser.parse_args()
    main(given.jobs, given.rounds, given.note, given.output)
