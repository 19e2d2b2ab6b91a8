"""Forks workers from this process, which has imported torch. All else is as in a real sweep.

This process must have a single thread.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from metaexp.cli.main import main
from metaexp.config.classes import targets
from metaexp.config.classes.source import read_module
from metaexp.sweep import worker
from metaexp.sweep.job_process import JobProcess, unless_log_opens
from metaexp.sweep.job_state import LOG_FILE


class ForkedProcess(JobProcess):
    """A worker forked from this process.

    Args:
        folder: The job's folder.
        pid: The worker.
        stdin: The write end of its standard input. It closes when this process dies.
    """

    def __init__(self, folder: Path, pid: int, stdin: int) -> None:
        self.folder, self.pid, self.stdin = folder, pid, stdin
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
        os.close(self.stdin)


def start(folder: Path, *others: Path, trusted: tuple[str, ...] = (), threads: int | None = None) -> JobProcess:
    """Start a worker by forking. Replaces :func:`metaexp.sweep.job_process.start`."""
    if (failed := unless_log_opens(folder)) is not None:
        return failed
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        more = [] if threads is None else ["--threads", str(threads)]
        trust = [word for name in trusted for word in ("--trust", name)]
        _in_child(lambda: worker.main([str(folder), *map(str, others), *more, *trust]), read_end, folder / LOG_FILE)
    os.close(read_end)
    return ForkedProcess(folder, pid, write_end)


def fork(action: Callable[[], int], log: Path) -> int:
    """Call ``action`` in a forked process, whose output goes to ``log``, and return the process id."""
    pid = os.fork()
    if pid == 0:
        _in_child(action, os.open(os.devnull, os.O_RDONLY), log)
    return pid


class Ended(NamedTuple):
    """A command that has ended.

    Attributes:
        code: Its exit code.
        output: What it printed, errors and all.
    """

    code: int
    output: str


def run_main(arguments: Sequence[str], folder: Path) -> Ended:
    """Run ``metaexp`` with these arguments in a folder, in a forked process that knows no code of a user."""
    for name in ("run.job", "run.figures", "doctor.examine", "doctor.network", "data.glyphs"):
        importlib.import_module(f"metaexp.{name}")  # once, not in every process

    def action() -> int:
        os.chdir(folder)
        targets._trusted.clear()
        targets._folders.clear()
        read_module.cache_clear()
        for name in [name for name in sys.modules if (folder / name.partition(".")[0]).is_dir()]:
            del sys.modules[name]  # another test's, of the same name
        return main(arguments)

    log = folder / "printed.log"
    log.unlink(missing_ok=True)
    code = os.waitstatus_to_exitcode(os.waitpid(fork(action, log), 0)[1])
    return Ended(code, log.read_text())


def _in_child(action: Callable[[], int], stdin: int, log: Path) -> NoReturn:
    """Run ``action`` and exit. The child closes the files that the parent has open."""
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
