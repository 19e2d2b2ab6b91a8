"""Starts a tiny run, kills it with SIGKILL, resumes it, kills it again, until it is done; then the next.

usage: kill_and_resume.py FOLDER KILLS [OUTPUT]. Prints a JSON object, and writes it to OUTPUT.

Every session is a process of its own, forked from this one, which has imported torch already. Half of the kills come at
a random time from outside. The other half come from inside, just before or after a random call that writes, syncs,
renames or removes a file: moments that a timer hardly ever hits.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))  # the helpers beside this folder
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # after CUDA's threads have started, no process can be forked

import cheap_runs  # noqa: F401
import tiny_runs
import torch
from rich.console import Console

from metaexp.config.classes.targets import trust
from metaexp.run import outputs as outputs_module
from metaexp.run.job import resume_job, run_job
from metaexp.run.progress import Lines

RESULT = (
    "metrics.jsonl", "test_episodes.csv", "checkpoints/best.safetensors", "checkpoints/step_000000012.safetensors",
)  # fmt: skip
_LONGEST = 0.4
"""Seconds of processor time within which a kill from outside comes; a session takes about that."""
_CALLS = 120
"""A kill from inside comes within so many calls; a session makes about that."""


class Fuse:
    """Kills this process before or after the n-th call of the functions it was put into."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def into(self, owner: Any, name: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def fused(*args: Any, **kwargs: Any) -> Any:
            self.burn()
            result = function(*args, **kwargs)
            self.burn()
            return result

        setattr(owner, name, fused)

    def burn(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def session(folder: Path, calls: int | None) -> None:
    """Start or continue the run in ``folder``; with ``calls``, be killed at that call."""
    settings = tiny_runs.settings(folder.parent)
    display = Lines(Console(quiet=True))
    if calls is not None:
        fuse = Fuse(calls)
        for name in ("fsync", "open"):
            fuse.into(os, name)
        for name in ("replace", "unlink", "mkdir"):
            fuse.into(Path, name)
    if (folder / "config.yaml").exists() and (folder / "choices.yaml").exists():
        resume_job(folder, display)
    else:
        run_job(settings, folder=folder, display=display)


def main(outputs: Path, wanted: int, output: Path | None = None) -> None:
    trust("tiny_runs")
    outputs_module.draw = lambda *_: {}  # pictures take longer than these runs
    torch.set_num_threads(1)
    session(outputs / "warm", None)  # torch imports much of itself when it is first used
    dice = random.Random(0)
    kills, sessions, folders = 0, 0, []
    inside_kills = 0
    while kills < wanted:
        folder = outputs / f"run{len(folders)}"
        folders.append(folder.name)
        status = -1
        while status != 0:
            sessions += 1
            spared, inside = kills >= wanted, sessions % 2 == 0
            calls = dice.randint(1, _CALLS) if inside and not spared else None
            child = os.fork()
            if child == 0:
                run_session(folder, calls)
            status = wait(child, None if inside or spared else dice.uniform(0.0, _LONGEST))
            if os.WIFSIGNALED(status):
                kills += 1
                inside_kills += inside
            elif status != 0:
                sys.exit("a session failed")
    expected = result_of(outputs / "warm")
    different = [name for name in folders if result_of(outputs / name) != expected]
    found = {"kills": kills, "inside": inside_kills, "sessions": sessions, "folders": folders, "different": different}
    if output is not None:
        output.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


def result_of(folder: Path) -> dict[str, str]:
    """The digests of what a run is about: its metrics, its test and its weights."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in RESULT}


def run_session(folder: Path, calls: int | None) -> NoReturn:
    """In the child: a session, and then nothing else of what the parent was about to do."""
    try:
        session(folder, calls)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def wait(child: int, seconds: float | None) -> int:
    """The child's exit status; with ``seconds``, it is killed once it has computed for so long."""
    while seconds is not None:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if computed(child) >= seconds:
            os.kill(child, signal.SIGKILL)
            break
        time.sleep(0.001)
    return os.waitpid(child, 0)[1]


def computed(child: int) -> float:
    """Seconds of processor time of a child; of the clock where the system does not tell, which a busy one distorts."""
    try:
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return time.monotonic() % 1.0


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
