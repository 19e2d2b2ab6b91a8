"""A job of a sweep in a process of its own, so that whatever kills it costs only itself. Without torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import metaexp
from metaexp.sweep.job_state import LOG_FILE, JobState, begun, lock_job, look, write_note

BUSY = 75
"""Exit code of a worker that did nothing, because another process runs the job (EX_TEMPFAIL of sysexits.h)."""


class JobProcess:
    """A worker that was started on a job folder. If this process dies, the worker saves and stops."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.process = process

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self.process.poll()

    def wait(self, seconds: float | None = None) -> int | None:
        """The exit code once it has ended; None when it still runs after ``seconds``."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """Ask it to save and stop after the current step. Asking again changes nothing."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, without saving."""
        self.process.kill()

    def state(self) -> JobState:
        """How far the job is; once the process has ended, how it ended, with its record."""
        return look(self.folder)


def settled(folder: Path, code: int, *, asked_to_stop: bool) -> JobState:
    """The state of a job whose process ended with ``code``, also where it could not say how it ended.

    asked_to_stop: whether we asked it to, so that an end by a signal is an interruption and no failure.
    """
    state = look(folder)
    if state.status in ("waiting", "killed") and asked_to_stop:
        return _said(folder, "interrupted", code, "stopped before it could save")
    if state.status in ("waiting", "killed") and code < 0:
        name = signal.Signals(-code).name
        perhaps = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return _said(folder, "killed", code, f"its process was killed by {name}{perhaps}")
    if state.status in ("waiting", "killed"):
        return _said(folder, "failed", code, f"its process ended with exit code {code} and said nothing")
    return state


def _said(folder: Path, status: Literal["interrupted", "failed", "killed"], code: int, error: str) -> JobState:
    """Say in the job's folder how it ended, unless another process has begun to run it; returns the state."""
    with lock_job(folder) as mine:
        if mine:
            write_note(folder, replace(begun(folder, attempts=0), status=status, exit_code=code, error=error))
    return look(folder)


def start(folder: Path, trusted: Sequence[str] = (), threads: int | None = None) -> JobProcess:
    """Begin or continue the job frozen in ``folder`` in a process of its own; its output goes to ``output.log``.

    trusted: packages whose classes it may use. threads: for ``device.threads`` where the job leaves it open.
    """
    command = [sys.executable, "-P", "-m", "metaexp.sweep.worker", str(folder)]
    command += [] if threads is None else ["--threads", str(threads)]
    for package in trusted:
        command += ["--trust", package]
    with (folder / LOG_FILE).open("ab") as log:
        process = subprocess.Popen(
            command, env=_environment(), stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
        )
    return JobProcess(folder, process)


def _environment() -> dict[str, str]:
    """Ours, with the way to metaexp where it is not installed but found by the path of this process.

    Without the address of a W&B service that this process may have: a job that shares it ends with it. Without the id
    of a W&B run: it names one run, and each job is a run of its own.
    """
    ours = {key: value for key, value in os.environ.items() if key not in ("WANDB_SERVICE", "WANDB_RUN_ID")}
    root = str(Path(metaexp.__file__).resolve().parents[1])
    if root not in sys.path or Path(root).name in ("site-packages", "dist-packages"):
        return ours
    before = os.environ.get("PYTHONPATH")
    return {**ours, "PYTHONPATH": os.pathsep.join([root, before] if before else [root])}
