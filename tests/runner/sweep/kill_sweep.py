"""Starts a sweep, kills it and its workers with SIGKILL at random moments, starts it again, until it is done.

usage: kill_sweep.py FOLDER JOBS KILLS. The sweep and its workers are processes of one group, forked from this one,
which has imported torch already. After the second kill two files of the configuration are edited. Afterwards the
numbers are compared with those of an undisturbed sweep; and no job may have begun after it was complete.
The last line is a report in JSON; the exit code is 1 if anything is wrong.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # after CUDA's threads have started, no process can be forked

import sweep_runs
import torch
from rich.console import Console

from metaexp.core.errors import RunFolderError
from metaexp.results.record import read_record
from metaexp.runner import session as session_module
from metaexp.runner.progress import Lines
from metaexp.runner.signals import Interrupted
from metaexp.runner.sweep import run as run_module
from metaexp.runner.targets import trust

_MOST_WORK = 1.0
"""Seconds of processor time of the workers within which a kill comes; a session of one job takes about half of that."""
_MOST_COMPOSING = 2.0
"""The same of the sweep's own process, for the kills that are to come while it composes and freezes."""


def main(folder: Path, n_jobs: int, kills: int) -> int:
    for package in sweep_runs.TRUSTED:
        trust(package)
    session_module.draw = lambda *_: {}  # pictures take longer than these runs
    run_module.start = sweep_runs.fork
    torch.set_num_threads(1)
    os.chdir(folder)
    conf = sweep_runs.write_files(Path("conf"))
    sweep_runs.warm_up(Path("warm"))
    seeds = ",".join(map(str, range(n_jobs // 2)))
    command = [*sweep_runs.COMMON, f"seed={seeds}", "algorithm.inner_lr=0.1,0.05", "sweep.n_jobs=2"]
    plain = os.waitstatus_to_exitcode(wait(sweep([*command, "hydra.sweep.dir=undisturbed"]), None, 0.0))
    report = disturb([*command, "hydra.sweep.dir=disturbed"], conf, kills)
    report |= compare(Path("undisturbed"), Path("disturbed"), n_jobs) | {"undisturbed": plain}
    print(json.dumps(report))
    wrong = [report["again"], report["missing"], report["different"], plain, report["exit_code"]]
    return int(any(wrong) or not report["tells_differences"])


def disturb(command: list[str], conf: Path, kills: int) -> dict[str, Any]:
    """Run the sweep with ``kills`` kills on the way; then let it end."""
    dice = random.Random(1)
    done, again, sessions = 0, [], 0
    complete: set[int] = set()
    while True:
        sessions += 1
        seen = len(begins(Path("disturbed")))
        composing = dice.random() < 0.2
        after = dice.uniform(0.0, _MOST_COMPOSING if composing else _MOST_WORK)
        status = wait(sweep(command), (after if done < kills else None), composing)
        again += [number for number in begins(Path("disturbed"))[seen:] if number in complete]
        complete = completed(Path("disturbed"))
        if not os.WIFSIGNALED(status):
            if done < kills:  # it was done too soon for all the kills; what is left is to kill the looking
                done += 1
                continue
            return {
                "kills": kills,
                "sessions": sessions,
                "again": again,
                "exit_code": os.waitstatus_to_exitcode(status),
            }
        done += 1
        if done == 2:
            path = conf / "algorithm" / "cases.yaml"
            path.write_text(path.read_text().replace("case: 0", "case: 3"))
            path = conf / "optimizer" / "counting.yaml"
            path.write_text(path.read_text().replace("lr: 0.01", "lr: 0.5"))


def sweep(command: list[str]) -> int:
    """Start the sweep in a process group of its own; returns its id."""
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


def wait(leader: int, seconds: float | None, of_leader: bool) -> int:
    """The exit status of the sweep; with ``seconds``, its group is killed once it has computed for so long."""
    while seconds is not None:
        done, status = os.waitpid(leader, os.WNOHANG)
        if done:
            return status
        if computed(leader, of_leader) >= seconds:
            os.killpg(leader, signal.SIGKILL)
            break
        time.sleep(0.001)
    return os.waitpid(leader, 0)[1]


def computed(leader: int, of_leader: bool) -> float:
    """Seconds of processor time of the sweep's process, or of its workers together, those that ended included."""
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
    """The numbers of the jobs that began, in order."""
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
    """What is missing, and what is different from the undisturbed sweep."""
    missing = sorted(set(range(n_jobs)) - completed(disturbed))
    folders = {path.name: path for path in plain.glob("[0-9]*")}
    results = {name: sweep_runs.result_of(path) for name, path in folders.items()}
    different = [n for n, result in results.items() if sweep_runs.result_of(disturbed / n) != result]
    tells = len({result["metrics.jsonl"] for result in results.values()}) == n_jobs
    return {"jobs": len(folders), "missing": missing, "different": different, "tells_differences": tells}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
