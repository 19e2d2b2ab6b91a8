"""A tiny family of runs to search over, its configuration files, and trials and searches that are forked.

Forked from a process that has imported torch already, a trial begins at once; all else of it is real.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, cast

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_runs import TinyMAML
from torch import Tensor

from metaexp.core.types import Episode
from metaexp.models.base import Network
from metaexp.runner.sweep import worker
from metaexp.runner.sweep.process import JobProcess
from metaexp.runner.sweep.state import LOG_FILE

FILES = {
    "algorithm/hills.yaml": "_target_: search_runs.Hills\ninner_lr: 0.1\npause: 0.0\ncase: fine\n",
    "algorithm/plains.yaml": "_target_: search_runs.Hills\ninner_lr: 0.05\npause: 0.0\ncase: fine\n",
    "dataset/lines.yaml": "defaults:\n  - override /task@_global_.task: regression_5shot\n"
    "  - override /model@_global_.model: net\n_target_: tiny_runs.Lines\npoison: null\nversion: a\n",
    "model/net.yaml": "_target_: tiny_runs.Net\nwidth: 8\ndropout: 0.1\n",
    "optimizer/counting.yaml": "_target_: tiny_runs.CountingAdam\nlr: 0.01\n",
}
COMMON = [
    "algorithm=hills", "dataset=lines", "optimizer=counting", "device=cpu", "tracker=files", "train.steps=12",
    "train.meta_batch_size=3", "train.eval_every=4", "train.eval_episodes=6", "train.checkpoint_every=4",
    "train.log_every=3", "eval.episodes=10",
]  # fmt: skip


class Hills(TinyMAML):
    """TinyMAML that pauses so many seconds in each update, and gets into trouble in update 8 where ``case`` says so."""

    def __init__(self, model: Network, inner_lr: float, pause: float, case: str) -> None:
        self.pause, self.case, self.at = pause, case, -1
        super().__init__(model, inner_lr)

    def begin_step(self, step: int, total_steps: int) -> None:
        if step != self.at:
            time.sleep(self.pause)
        self.at = step
        if (self.case, step) == ("raises", 8):
            raise RuntimeError("the roof is on fire\nand more about it")
        if (self.case, step) == ("dies", 8):
            os.kill(os.getpid(), signal.SIGKILL)
        super().begin_step(step, total_steps)

    def meta_loss(self, episode: Episode) -> Tensor:
        loss = cast(Tensor, super().meta_loss(episode))
        return loss * float("nan") if (self.case, self.at) == ("blows", 8) else loss


class Forked(JobProcess):
    """A worker forked from this process. ``leash``: its standard input, which closes when this process dies."""

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


def start(folder: Path, trusted: tuple[str, ...] = (), threads: int | None = None) -> Forked:
    """In the place of :func:`metaexp.runner.sweep.process.start`."""
    end, leash = os.pipe()
    pid = os.fork()
    if pid == 0:
        more = [] if threads is None else ["--threads", str(threads)]
        trust = [word for name in trusted for word in ("--trust", name)]
        _in_child(lambda: worker.main([str(folder), *more, *trust]), end, folder / LOG_FILE)
    os.close(end)
    return Forked(folder, pid, leash)


def fork(action: Callable[[], int], log: Path) -> int:
    """Call ``action`` in a process of its own, whose output goes to ``log``; returns its id."""
    pid = os.fork()
    if pid == 0:
        _in_child(action, os.open(os.devnull, os.O_RDONLY), log)
    return pid


def _in_child(action: Callable[[], int], stdin: int, log: Path) -> NoReturn:
    """Nothing else of what the parent was about to do; files that it has open are not the child's."""
    code = 1
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(stdin, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.closerange(3, 1000)
        sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
        code = action()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
