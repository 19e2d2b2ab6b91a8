"""A tiny family of runs of which some get into trouble, its configuration files, and workers that need no import.

Workers are forked from this process, which has imported torch already; all else of them is real. Only a process that
has a single thread may be forked so.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path
from typing import NoReturn, cast

sys.path.insert(0, str(Path(__file__).parents[1]))

from rich.console import Console
from tiny_runs import TinyMAML, settings
from torch import Tensor

from metaexp.core.types import Episode
from metaexp.models.base import Network
from metaexp.runner.job import run_job
from metaexp.runner.progress import Lines
from metaexp.runner.sweep import worker
from metaexp.runner.sweep.process import JobProcess
from metaexp.runner.sweep.state import LOG_FILE

FILES = {
    "algorithm/cases.yaml": "_target_: sweep_runs.Cases\ninner_lr: 0.1\ncase: 0\n",
    "dataset/lines.yaml": "defaults:\n  - override /task@_global_.task: regression_5shot\n"
    "  - override /model@_global_.model: net\n_target_: tiny_runs.Lines\npoison: null\nversion: a\n",
    "model/net.yaml": "_target_: tiny_runs.Net\nwidth: 8\ndropout: 0.1\n",
    "optimizer/counting.yaml": "_target_: tiny_runs.CountingAdam\nlr: 0.01\n",
}
COMMON = [
    "algorithm=cases", "dataset=lines", "optimizer=counting", "device=cpu", "tracker=files", "train.steps=12",
    "train.meta_batch_size=3", "train.eval_every=4", "train.eval_episodes=6", "train.checkpoint_every=2",
    "train.log_every=3", "eval.episodes=10",
]  # fmt: skip
TRUSTED = ("sweep_runs", "tiny_runs")
RESULTS = ("metrics.jsonl", "test_episodes.csv", "checkpoints/best.safetensors")


class Cases(TinyMAML):
    """TinyMAML. Case 5 raises, case 6 is not finite and case 7 kills its process, each in update 8; others are fine."""

    def __init__(self, model: Network, inner_lr: float, case: int) -> None:
        self.case = case
        super().__init__(model, inner_lr)

    def begin_step(self, step: int, total_steps: int) -> None:
        self.step = step
        if (self.case, step) == (5, 8):
            raise RuntimeError("the roof is on fire\nand more about it")
        if (self.case, step) == (7, 8):
            os.kill(os.getpid(), signal.SIGKILL)
        super().begin_step(step, total_steps)

    def meta_loss(self, episode: Episode) -> Tensor:
        loss = cast(Tensor, super().meta_loss(episode))
        return loss * float("nan") if (self.case, self.step) == (6, 8) else loss


class Forked(JobProcess):
    """A worker forked from this process."""

    def __init__(self, folder: Path, pid: int, leash: int) -> None:
        self.folder, self.pid, self.leash = folder, pid, leash
        self.code: int | None = None

    def poll(self) -> int | None:
        if self.code is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self._ended(status)
        return self.code

    def wait(self, seconds: float | None = None) -> int | None:
        if self.code is None:
            self._ended(os.waitpid(self.pid, 0)[1])
        return self.code

    def stop(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _ended(self, status: int) -> None:
        self.code = os.waitstatus_to_exitcode(status)
        os.close(self.leash)


def fork(folder: Path, trusted: tuple[str, ...] = (), threads: int | None = None) -> Forked:
    """In the place of :func:`metaexp.runner.sweep.process.start`."""
    end, leash = os.pipe()
    pid = os.fork()
    if pid == 0:
        _work(folder, trusted, threads, end)
    os.close(end)
    return Forked(folder, pid, leash)


def _work(folder: Path, trusted: tuple[str, ...], threads: int | None, end: int) -> NoReturn:
    """In the child: what a fresh process would do. The ends of other workers' leashes are not its own."""
    code = 1
    try:
        log = os.open(folder / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(end, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, 1000)
        sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
        more = [] if threads is None else ["--threads", str(threads)]
        code = worker.main([str(folder), *more, *(word for name in trusted for word in ("--trust", name))])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def warm_up(folder: Path) -> None:
    """Train once in this process: torch imports much of itself when it is first used."""
    run_job(settings(folder, train__steps=1), display=Lines(Console(quiet=True)))


def write_files(folder: Path) -> Path:
    """Write the configuration files of the family; returns the folder."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def result_of(folder: Path) -> dict[str, bytes]:
    """The files of a run that must be equal, byte for byte."""
    return {name: (folder / name).read_bytes() for name in RESULTS}
