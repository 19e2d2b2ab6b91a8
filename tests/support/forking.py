"""Workers and other processes forked from this one, which has imported torch already; all else of them is real.

Only a process that has a single thread may be forked so.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from metaexp.sweep import worker
from metaexp.sweep.job_process import JobProcess
from metaexp.sweep.job_state import LOG_FILE


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
    """In the place of :func:`metaexp.sweep.job_process.start`."""
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
    """Nothing else of what the parent was about to do; files and leashes that it has open are not the child's."""
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
