"""What the start of a job costs: jobs of a sweep that are started one by one, against jobs forked from a warm parent.

Whole commands run in turn, with few jobs and with more; the difference is what one more job costs. Seconds are those of
the processor, of all processes of a command together, so that other work on the machine matters little; the wall's are
given beside them. Memory is what each process has for itself and its share of what several have (PSS).
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import timing

from metaexp.machine.threads import cores
from metaexp.sweep.folder import Sweep, create
from metaexp.sweep.prepare import prepare
from metaexp.sweep.processes.job_process import JobProcess
from metaexp.sweep.processes.warm_start import WarmStarter, open_job_starter

JOB = [
    "algorithm=maml", "dataset=sinusoid", "device=cpu", "device.threads=1", "tracker=files", "train.steps=20",
    "train.eval_every=10", "train.eval_episodes=10", "eval.episodes=20",
]  # fmt: skip
GLYPHS = [
    "algorithm=proto_net", "dataset=glyphs", "device=cpu", "device.threads=1", "tracker=files", "train.steps=100000",
    "train.checkpoint_every=1",
]  # fmt: skip
FEW, MORE = 2, 8
RECORD = Path(__file__).resolve().parents[1] / "records" / "sweep_startup.json"


def main(rounds: int, output: Path) -> None:
    """Measure, print and write the record."""
    output = output.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        taken: dict[str, list[dict[str, float]]] = {"spawned": [], "forked": []}
        for number in range(rounds + 1):
            for how, measured in taken.items():
                found = one_more_job(fork=how == "forked", place=f"{how}-{number}")
                if number:  # the first fills the caches of files
                    measured.append(found)
                print(how, found, flush=True)
        results = {how: summary(taken["spawned"], measured) for how, measured in taken.items()}
        memory = {how: mebibytes(fork=how == "forked") for how in taken}
    print(results, memory)
    about = {"cores": cores(), "load": os.getloadavg()[0], "jobs": [FEW, MORE], "rounds": rounds, "memory_mib": memory}
    timing.save(output, "sweep_startup", results, **about)


def summary(baseline: list[dict[str, float]], taken: list[dict[str, float]]) -> dict[str, Any]:
    """Medians, and the ratio of processor seconds with its quartiles."""
    processor = [[found["processor"] for found in rounds] for rounds in (baseline, taken)]
    medians = {f"{key}_seconds": statistics.median(found[key] for found in taken) for key in taken[0]}
    return medians | {key: value for key, value in timing.summary(*processor).items() if key != "seconds"}


def one_more_job(*, fork: bool, place: str) -> dict[str, float]:
    """Seconds of one more job in a sweep, and those of a command with no job but the first ones."""
    few, more = command(FEW, f"{place}-few", fork=fork), command(MORE, f"{place}-more", fork=fork)
    each = {key: (more[key] - few[key]) / (MORE - FEW) for key in few}
    return each | {"first_jobs_processor": few["processor"]}


def command(n_jobs: int, place: str, *, fork: bool) -> dict[str, float]:
    """Seconds of a whole sweep, one job at a time: of the wall, and of the processor."""
    began, before = time.perf_counter(), spent()
    overrides = [*JOB, f"seed=range(0,{n_jobs})", f"sweep.fork={str(fork).lower()}", f"hydra.sweep.dir={place}"]
    called = [sys.executable, "-m", "metaexp", "train", "-m", *overrides]
    subprocess.run(called, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return {"wall": time.perf_counter() - began, "processor": spent() - before}


def spent() -> float:
    """Processor seconds of the processes that ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def mebibytes(*, fork: bool) -> list[float]:
    """Memory of one, two and three jobs that run at once, the warm parent included."""
    prepared = prepare([*GLYPHS, "seed=0,1,2", f"hydra.sweep.dir=memory-{fork}"], None, "config")
    sweep = create(prepared.path, [], prepared.digest, prepared.jobs)
    found = []
    with open_job_starter((), 1, print, fork=fork) as begin:
        running: list[JobProcess] = []
        try:
            for job in sweep.jobs():
                running.append(begin(sweep.folder(job)))
                while not list(sweep.folder(job).glob("checkpoints/step_*.json")):
                    assert running[-1].poll() is None, "a job ended"
                    time.sleep(0.05)
                parents = [parent.pid for parent in begin._parents] if isinstance(begin, WarmStarter) else []
                found.append(sum(shared_memory(pid) for pid in [*parents, *pids(sweep)]))
        finally:
            for process in running:
                process.kill()
                process.wait()
    return found


def pids(sweep: Sweep) -> list[int]:
    """The processes of the jobs that run."""
    return [int(event["pid"]) for event in sweep.events() if event["event"] == "begins"]


def shared_memory(pid: int) -> float:
    """PSS in MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no Pss")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RECORD)
    given = parser.parse_args()
    main(given.rounds, given.output)
