"""Starts a sweep, kills it with SIGKILL at random moments and starts it again, until it is done. Checks the results.

The sweep and its workers are one process group, and all are killed together. They are forked from this process, which
has imported torch. With --warm, the workers are forked from a warm parent of the sweep, which is killed too; it is
forked from this process as well.

The moment of a kill is drawn uniformly, in processor time. Usually it is the time of the workers, chosen so that all
kills come while work is left. Every fifth kill, and any kill after the last job, is timed by the sweep's own process.
So it comes while that process composes, reads its folder, or ends.

After the second kill two configuration files are edited, and stay so until all jobs are complete. At the end the
results must equal those of a sweep that was not disturbed, and no job may have begun again after it was complete.

The last line is a report in JSON, which is also written to FILE. The exit code is 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the helpers beside this folder
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # after CUDA's threads have started, no process can be forked

import case_runs
import cheap_runs  # noqa: F401
import forking
import tiny_runs
import torch
from rich.console import Console

from metaexp.config.classes.targets import trust
from metaexp.core.errors import RunFolderError
from metaexp.machine import forked_process
from metaexp.machine.signals import Interrupted
from metaexp.results.record import read_record
from metaexp.run import outputs as outputs_module
from metaexp.run.progress import Lines
from metaexp.sweep import run as run_module
from metaexp.sweep.processes import warm_start

_SECONDS_BETWEEN_LOOKS = 0.02


def main(folder: Path, n_jobs: int, kills: int, output: Path | None, *, warm: bool) -> int:
    for package in case_runs.TRUSTED:
        trust(package)
    outputs_module.draw = lambda *_: {}  # figures take longer than these runs
    warm_start.start = forking.start
    if warm:
        forking.import_everything()
        forked_process.subprocess = forking.SUBPROCESS
    else:
        warm_start.can_fork = lambda: False
    torch.set_num_threads(1)
    output = output and output.resolve()
    os.chdir(folder)
    conf = tiny_runs.write_files(case_runs.FILES, Path("conf"))
    tiny_runs.warm_up(Path("warm"))
    seeds = ",".join(map(str, range(n_jobs // 2)))
    command = [*case_runs.COMMON, f"seed={seeds}", "algorithm.inner_lr=0.1,0.05", "sweep.n_jobs=2"]
    undisturbed = [*command, "hydra.sweep.dir=undisturbed"]
    plain = os.waitstatus_to_exitcode(wait(sweep(undisturbed), None, False))
    both = spent()
    assert os.waitstatus_to_exitcode(wait(sweep(undisturbed), None, False)) == 0, "nothing is left to run"
    of_sweep = spent() - both
    report = disturb([*command, "hydra.sweep.dir=disturbed"], conf, kills, n_jobs, both - of_sweep, of_sweep, warm=warm)
    report |= compare(Path("undisturbed"), Path("disturbed"), n_jobs) | {"undisturbed": plain}
    report |= {"python": platform.python_version(), "torch": torch.__version__}
    if output is not None:
        output.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))
    wrong = [report["again"], report["missing"], report["different"], plain, report["exit_code"]]
    return int(any(wrong) or not report["tells_differences"])


def spent() -> float:
    """Processor seconds of all child processes that have ended, and of their children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def disturb(
    command: list[str], conf: Path, kills: int, n_jobs: int, of_workers: float, of_sweep: float, *, warm: bool
) -> dict[str, Any]:
    """Run the sweep, kill it ``kills`` times, and then let it end.

    Args:
        command: Overrides of the sweep.
        conf: The folder of its configuration.
        kills: How many kills.
        n_jobs: How many jobs the sweep has.
        of_workers: Processor seconds of all jobs together, without kills.
        of_sweep: Processor seconds of the sweep's own process, without kills.
        warm: Whether the jobs are forked from a warm parent.

    Returns:
        A report: when each kill came, how many jobs that session had started, and how many were complete.
    """
    dice = random.Random(1)
    again: list[int] = []
    moments: list[dict[str, Any]] = []
    complete: set[int] = set()
    for session in range(1, 10 * kills):
        seen = len(begins(Path("disturbed")))
        left = of_workers * (1 - len(complete) / n_jobs)
        if not left:
            # A complete sweep whose files were edited would be a new sweep.
            tiny_runs.write_files(case_runs.FILES, conf)
        of_leader = session % 5 == 0 or not left
        most = of_sweep if of_leader else left * min(1.0, 2 / max(1, kills - len(moments)))
        after = dice.uniform(0.0, most)
        ready = partial(has_begun, seen) if warm and not of_leader else None
        status = wait(sweep(command), (after if len(moments) < kills else None), of_leader, ready)
        started = begins(Path("disturbed"))[seen:]
        again += [number for number in started if number in complete]
        complete = completed(Path("disturbed"))
        if os.WIFSIGNALED(status):
            moment = {"seconds": round(after, 3), "of": "sweep" if of_leader else "workers"}
            moments.append(moment | {"started": len(started), "completed": len(complete)})
            if len(moments) == 2:
                edit(conf)
        elif len(moments) == kills:
            code = os.waitstatus_to_exitcode(status)
            return {"kills": kills, "sessions": session, "again": again, "exit_code": code, "moments": moments}
    raise RuntimeError(f"not {kills} kills in so many sessions: {moments}")


def edit(conf: Path) -> None:
    """Change numbers in two files of the configuration."""
    path = conf / "algorithm" / "cases.yaml"
    path.write_text(path.read_text().replace("case: 0", "case: 3"))
    path = conf / "optimizer" / "counting.yaml"
    path.write_text(path.read_text().replace("lr: 0.01", "lr: 0.5"))


def sweep(command: list[str]) -> int:
    """Start the sweep in its own process group and return the id of the group."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setpgid(0, 0)
        with Path("said.txt").open("a") as said:
            display = Lines(Console(file=said))
            os.dup2(said.fileno(), 1)
            code = run_module.run_all(command, Path("conf"), "config", display)
    except Interrupted as error:
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def has_begun(seen: int) -> bool:
    """Whether a job has begun beyond the first ``seen`` ones. Before that, a warm parent may still be importing."""
    return len(begins(Path("disturbed"))) > seen


def wait(leader: int, seconds: float | None, of_leader: bool, ready: Callable[[], bool] | None = None) -> int:
    """Wait for the sweep and return its exit status.

    Args:
        leader: The process of the sweep.
        seconds: Kill its group after so many processor seconds; None never does.
        of_leader: Count the seconds of the sweep's own process, not those of the workers.
        ready: Start to count once this returns True.
    """
    ahead = 0.0
    while seconds is not None:
        done, status = os.waitpid(leader, os.WNOHANG)
        if done:
            return status
        if ready is not None:
            seconds += max(0.0, computed(leader, of_leader) - ahead)
            ahead = computed(leader, of_leader)
            ready = None if ready() else ready
        if ready is None and computed(leader, of_leader) >= seconds:
            os.killpg(leader, signal.SIGKILL)
            break
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return os.waitpid(leader, 0)[1]


def computed(leader: int, of_leader: bool) -> float:
    """Processor seconds of the sweep's process, or of all its workers, including those that have ended."""
    ticks, children = 0, 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) != leader:
            continue
        if path.parent.name == str(leader):
            ticks, children = int(fields[11]) + int(fields[12]), children + int(fields[13]) + int(fields[14])
        else:
            children += int(fields[11]) + int(fields[12])
    return (ticks if of_leader else children) / os.sysconf("SC_CLK_TCK")


def begins(folder: Path) -> list[int]:
    """The numbers of the jobs in the order in which they began."""
    path = folder / "journal.jsonl"
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry["event"] == "begins":
            found.append(int(entry["job"]))
    return found


def completed(folder: Path) -> set[int]:
    """The numbers of the jobs whose record says that they are complete."""
    found = set()
    for path in folder.glob("[0-9]*"):
        try:
            if read_record(path).status == "completed":
                found.add(int(path.name.partition("-")[0]))
        except RunFolderError:
            continue
    return found


def compare(plain: Path, disturbed: Path, n_jobs: int) -> dict[str, Any]:
    """List the jobs that are missing, or that differ from those of the undisturbed sweep."""
    missing = sorted(set(range(n_jobs)) - completed(disturbed))
    folders = {path.name: path for path in plain.glob("[0-9]*")}
    results = {name: case_runs.result_of(path) for name, path in folders.items()}
    different = [n for n, result in results.items() if case_runs.result_of(disturbed / n) != result]
    tells = len({result["metrics.jsonl"] for result in results.values()}) == n_jobs
    return {"jobs": len(folders), "missing": missing, "different": different, "tells_differences": tells}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("jobs", type=int)
    parser.add_argument("kills", type=int)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--warm", action="store_true", help="fork the jobs from a warm parent, which is killed too")
    given = parser.parse_args()
    sys.exit(main(given.folder, given.jobs, given.kills, given.output, warm=given.warm))
