"""Forks workers from this process, which has imported torch. All else is as in a real sweep.

This process should have a single thread, see :mod:`one_thread`.
"""

from __future__ import annotations

import atexit
import faulthandler
import importlib
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import IO, NamedTuple, NoReturn

import pytest
import torch

from metaexp.cli.main import main
from metaexp.config.classes import targets
from metaexp.config.classes.source import read_module
from metaexp.machine.forked_process import wait_for
from metaexp.results.job_state import LOG_FILE
from metaexp.sweep.processes import preload, worker
from metaexp.sweep.processes.job_process import JobProcess, unless_log_opens, worker_arguments

_WHERE = signal.SIGUSR2
"""At this signal a forked process writes the tracebacks of its threads to its log. metaexp does not use it."""

_SECONDS_OF_A_TRACEBACK = 0.5


class Forked:
    """A process forked from this one. The methods are those of :class:`subprocess.Popen`.

    Args:
        pid: The process.
        stdin: The write end of its standard input, which closes when this process dies; -1 if it has none.
    """

    def __init__(self, pid: int, stdin: int = -1) -> None:
        self.pid, self.stdin = pid, stdin
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        if self.returncode is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self._ended(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code."""
        if timeout is not None:
            return wait_for(self.poll, timeout)
        if self.returncode is None:
            self._ended(os.waitpid(self.pid, 0)[1])
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, if it has not ended. If the test has failed by now, it first writes to its log where it is."""
        if self.poll() is None and isinstance(sys.exc_info()[1], pytest.fail.Exception):
            os.kill(self.pid, _WHERE)
            time.sleep(_SECONDS_OF_A_TRACEBACK)
        self.send_signal(signal.SIGKILL)

    def _ended(self, status: int) -> None:
        self.returncode = os.waitstatus_to_exitcode(status)
        if self.stdin >= 0:
            os.close(self.stdin)


def start(
    folder: Path, *others: Path, trusted: tuple[str, ...] = (), threads: int | None = None, only_check: bool = False
) -> JobProcess:
    """Start a worker by forking. Replaces :func:`metaexp.sweep.processes.job_process.start`."""
    if (failed := unless_log_opens(folder)) is not None:
        return failed
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        arguments = worker_arguments([folder, *others], trusted, threads, only_check=only_check)
        _in_child(lambda: worker.main(arguments), read_end, folder / LOG_FILE)
    os.close(read_end)
    return JobProcess(folder, Forked(pid, write_end))


def start_warm_parent(
    command: Sequence[str], *, env: Mapping[str, str], stdout: IO[bytes], pass_fds: Sequence[int], **_: object
) -> Forked:
    """Fork a warm parent. Replaces :class:`subprocess.Popen` in :mod:`metaexp.machine.forked_process`.

    Args:
        command: How it is started in a new Python process.
        env: Its environment.
        stdout: Where its output goes.
        pass_fds: The number of its socket.
    """
    assert list(command[1:4]) == ["-P", "-m", "metaexp.sweep.processes.worker"]
    pid = os.fork()
    if pid == 0:
        atexit._clear()  # what is left to do at the end of this process is not for its forks
        os.environ.clear()
        os.environ.update(env)
        _forget_own_code()
        nothing = os.open(os.devnull, os.O_RDONLY)
        _in_child(lambda: worker.main(command[4:]), nothing, stdout.fileno(), pass_fds[0])
    return Forked(pid)


SUBPROCESS = SimpleNamespace(**vars(subprocess) | {"Popen": start_warm_parent})
"""The module ``subprocess``, for :mod:`metaexp.machine.forked_process`."""


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
    import_everything()

    def action() -> int:
        os.chdir(folder)
        _forget_own_code()
        for name in [name for name in sys.modules if (folder / name.partition(".")[0]).is_dir()]:
            del sys.modules[name]  # another test's, of the same name
        return main(arguments)

    return _wait_for(action, folder)


def run_program(path: Path, arguments: Sequence[object], folder: Path) -> Ended:
    """Run a Python program with these arguments in a forked process. What it prints is in ``folder`` too."""
    import_everything()

    def action() -> int:
        sys.argv = [str(path), *map(str, arguments)]
        sys.path.insert(0, str(path.parent))
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as error:
            if not isinstance(error.code, str):
                return error.code or 0
            print(error.code)
            return 1
        return 0

    return _wait_for(action, folder)


def _forget_own_code() -> None:
    """Trust no code of a user, as a new process does."""
    targets._trusted.clear()
    targets._folders.clear()
    read_module.cache_clear()


def import_everything() -> None:
    """Import what runs and checks import late: once, not in every forked process. It may set environment variables."""
    checks = ("metaexp.doctor.examine", "metaexp.doctor.network", "metaexp.doctor.dataset")
    for name in (*preload._modules(), *preload._LIBRARIES, *checks):
        importlib.import_module(name)


def _wait_for(action: Callable[[], int], folder: Path) -> Ended:
    """Call ``action`` in a forked process, with its output in a file of ``folder``, and wait for its end."""
    log = folder / "printed.log"
    log.unlink(missing_ok=True)
    code = os.waitstatus_to_exitcode(os.waitpid(fork(action, log), 0)[1])
    return Ended(code, log.read_text())


def _in_child(action: Callable[[], int], stdin: int, log: Path | int, keep: int = 2) -> NoReturn:
    """Run ``action`` and exit. The child has no file of the parent open, but for the one to ``keep``."""
    code = 1
    try:
        out = log if isinstance(log, int) else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(stdin, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        _let_go_of_files(keep)
        faulthandler.register(_WHERE, file=2)
        torch.set_num_threads(1)  # as in a new process here: threads of the parent would be waited for in vain
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        code = action()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _let_go_of_files(keep: int) -> None:
    """Put the null device in the place of every file that the parent has open.

    Their numbers stay taken. A file object of the parent closes its number when this process collects it, and if the
    number had been given to a new file, that one would be closed.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in {int(path.name) for path in Path("/dev/fd").iterdir()} - {0, 1, 2, keep, nothing}:
        with suppress(OSError):  # one was that of the folder itself, which is closed by now
            os.fstat(number)
            os.dup2(nothing, number, inheritable=False)
