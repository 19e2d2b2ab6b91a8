"""Jobs on the CPU forked from one warm parent, so that none waits for imports. Without torch.

A job is a process of its own as ever: it differs from one that was started by itself in how long it takes to begin,
not in what it computes or writes. Where a warm parent cannot be, jobs are started by themselves.
"""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import metaexp
from metaexp.config.accelerators import cuda_devices
from metaexp.core.errors import RunFolderError
from metaexp.machine.forked_process import ForkedProcess, WarmParent, can_fork, wait_for
from metaexp.sweep.frozen_job import read_frozen
from metaexp.sweep.job_process import JobProcess, Process, job_environment, worker_arguments
from metaexp.sweep.job_state import LOG_FILE
from metaexp.sweep.pool import Start

FORK_SERVER = "--fork-server"
"""In the place of a job's folder: the worker becomes a warm parent."""

_MOST_DEATHS = 3
"""A warm parent that dies so often, by the memory killer perhaps, is given up."""

State = tuple[Mapping[str, str], str, Sequence[tuple[str, int, int]]]
"""What a warm parent was started in, and a job begins in: environment, current folder, and metaexp's own files."""


@contextmanager
def job_starter(
    spawn: Start, packages: Sequence[str], threads: int | None, say: Callable[[str], None], *, fork: bool = True
) -> Iterator[Start]:
    """What begins jobs within this block: forked where they can be, else by ``spawn``.

    Args:
        spawn: Starts a job by itself.
        packages: The user's own packages whose classes jobs may use. They are imported in jobs only.
        threads: For ``device.threads`` where a job leaves it open.
        say: Hears when a warm parent dies.
        fork: Whether to fork at all.

    Yields:
        The function that begins or continues the job in a folder.
    """
    if not fork or not can_fork():
        yield spawn
        return
    starter = WarmStarter(spawn, packages, threads, say)
    try:
        yield starter
    finally:
        starter.close()


class WarmStarter:
    """Begins jobs. The arguments are those of :func:`job_starter`."""

    def __init__(self, spawn: Start, packages: Sequence[str], threads: int | None, say: Callable[[str], None]) -> None:
        self.spawn = spawn
        self.packages = packages
        self.threads = threads
        self.say = say
        self.deaths = 0
        self._parents: list[WarmParent] = []
        self._state: State | None = None

    def __call__(self, folder: Path) -> JobProcess:
        """Begin or continue the job in a folder."""
        if self.deaths >= _MOST_DEATHS or not _is_for_cpu(folder):
            return self.spawn(folder)
        return JobProcess(folder, _Forked(self, folder))

    def fork(self, folder: Path) -> ForkedProcess | None:
        """Ask the warm parent for a process; None once it has been given up."""
        while self.deaths < _MOST_DEATHS:
            parent = self._parent()
            process = parent.fork(worker_arguments(folder, self.packages, self.threads), folder / LOG_FILE)
            if parent.is_alive:
                return process
            process.give_up(1)
            self.note_death(parent)
        return None

    def close(self) -> None:
        """Let the warm parents end."""
        for parent in self._parents:
            parent.close()

    def _parent(self) -> WarmParent:
        """The warm parent; another where it died, or where a job started by itself would be another by now."""
        state = (job_environment(), str(Path.cwd()), _sources())
        last = self._parents[-1] if self._parents else None
        if last is None or not last.is_alive or state != self._state:
            self._state = state
            command = [sys.executable, "-P", "-m", "metaexp.sweep.worker", FORK_SERVER]
            self._parents.append(WarmParent(command, state[0]))
        return self._parents[-1]

    def note_death(self, parent: WarmParent) -> None:
        """Say that a parent died, once."""
        if parent.is_noted:
            return
        parent.is_noted = True
        self.deaths = self.deaths + 1 if parent.is_ready else _MOST_DEATHS
        then = "another takes its place" if self.deaths < _MOST_DEATHS else "each job imports for itself from now on"
        self.say(f"the process that jobs are forked from ended ({parent.why_dead()}); {then}")


class _Forked:
    """The process of a job that is forked; where its parent dies before that, it is begun again, by itself if need be.

    The methods are those of :class:`subprocess.Popen`.
    """

    def __init__(self, starter: WarmStarter, folder: Path) -> None:
        self.starter = starter
        self.folder = folder
        self.asked: int | None = None
        self.process: Process = self._begin()

    def poll(self) -> int | None:
        code = self.process.poll()
        if not isinstance(self.process, ForkedProcess):
            return code
        if not self.process.parent.is_alive:
            self.starter.note_death(self.process.parent)
        if code is None and self.process.is_lost:
            if self.asked is not None:
                return self.process.give_up(-self.asked)
            self.process.give_up(1)
            self.process = self._begin()
            return self.process.poll()
        return code

    def wait(self, timeout: float | None = None) -> int:
        return wait_for(self.poll, timeout)

    def send_signal(self, number: int) -> None:
        self.asked = number
        if self.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        self.asked = signal.SIGKILL
        if self.poll() is None:
            self.process.kill()

    def _begin(self) -> Process:
        return self.starter.fork(self.folder) or self.starter.spawn(self.folder).process


def become_job(number: int) -> list[str]:
    """Make this process a warm parent, until it is one of the processes forked from it.

    Args:
        number: Of the socket that the pool talks through.

    Returns:
        The arguments of the job, in each forked process.
    """
    import socket

    from metaexp.machine.warm_parent import serve_forks

    arguments = serve_forks(socket.socket(fileno=number), _load, _prepare)
    sys.argv[1:] = arguments
    sys.orig_argv[-2:] = arguments
    return arguments


def _load() -> None:
    from metaexp.sweep.preload import import_everything

    import_everything()


def _prepare(arguments: Sequence[str]) -> None:
    from metaexp.sweep.preload import hold_data

    config: Mapping[str, Any] = read_frozen(Path(arguments[0])).config
    hold_data(config["dataset"], Path(config["paths"]["data"]))


def _is_for_cpu(folder: Path) -> bool:
    """Whether a job computes on the CPU. What a GPU's driver has begun does not survive a fork."""
    try:
        accelerator = read_frozen(folder).config["device"]["accelerator"]
    except RunFolderError:  # the job will tell
        return False
    return accelerator == "cpu" or (accelerator == "auto" and not _has_cuda())


_has_cuda = functools.cache(lambda: cuda_devices() > 0)


def _sources() -> list[tuple[str, int, int]]:
    """Name, size and time of metaexp's own files and of the folders that packages are installed in."""
    root = Path(metaexp.__file__).parent
    installed = [Path(place) for place in sys.path if Path(place).name in ("site-packages", "dist-packages")]
    found = [(path, path.stat()) for path in (*sorted(root.rglob("*.py")), *installed) if path.exists()]
    return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found]
