"""Forks jobs on the CPU from one warm parent, so that they need not wait for imports. Without torch.

A forked job still has a process of its own. It begins sooner than a job in a new Python process, and computes and
writes the same. If this system cannot fork a warm parent, each job gets a new Python process.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import metaexp
from metaexp.config.accelerators import computes_on_cpu
from metaexp.core.errors import RunFolderError
from metaexp.machine.collector import collect_rarely
from metaexp.machine.forked_process import ForkedProcess, WarmParent, can_fork, wait_for
from metaexp.results.job_state import LOG_FILE
from metaexp.sweep.frozen_job import FrozenJob, read_frozen
from metaexp.sweep.processes.job_process import (
    ONLY_CHECK,
    JobProcess,
    Process,
    job_environment,
    start,
    unless_log_opens,
    worker_arguments,
)
from metaexp.sweep.processes.pool import Start

if TYPE_CHECKING:
    from metaexp.sweep.processes.preload import HeldData

FORK_SERVER = "--fork-server"
"""Argument of the worker, in place of a job's folder. It makes the worker a warm parent."""

_MOST_DEATHS = 3
"""After this many deaths of warm parents, such as those by a lack of memory, jobs are not forked any more."""

_JOBS_WITHOUT_FIGURES = 2
"""A warm parent draws figures after this many jobs of a kind. For fewer, drawing takes longer than they save."""

State = tuple[Mapping[str, str], str, Sequence[tuple[str, int, int]]]
"""Environment, current folder and metaexp's own files. A warm parent forks a job only if they are still the same."""


@contextmanager
def open_job_starter(
    packages: Sequence[str], threads: int | None, print_line: Callable[[str], None], *, fork: bool = True
) -> Iterator[Start]:
    """Yield a function that starts jobs. It forks them if it can, from a process that ends with the ``with`` block.

    Args:
        packages: The user's own packages whose classes jobs may use. Only jobs import them.
        threads: Value of ``device.threads`` if a job's configuration leaves it open.
        print_line: Called with a message when a warm parent dies.
        fork: Whether jobs may be forked.

    Yields:
        The function that begins or continues the job in a folder.
    """
    if not fork or not can_fork():
        yield partial(start, trusted=packages, threads=threads)
        return
    starter = WarmStarter(packages, threads, print_line)
    try:
        yield starter
    finally:
        starter.close()


class WarmStarter:
    """Starts jobs, forked if they compute on the CPU. The arguments are those of :func:`open_job_starter`."""

    def __init__(self, packages: Sequence[str], threads: int | None, print_line: Callable[[str], None]) -> None:
        self.packages = packages
        self.threads = threads
        self.print_line = print_line
        self.deaths = 0
        self._parents: list[WarmParent] = []
        self._state: State | None = None

    def __call__(self, folder: Path, /, *others: Path, only_check: bool = False) -> JobProcess:
        """Begin or continue the job in a folder, together with those in other folders, or only check them."""
        only_loads = only_check and not others
        if self.deaths >= _MOST_DEATHS or not (only_loads or _is_for_cpu(folder)):
            return self.spawn(folder, *others, only_check=only_check)
        return unless_log_opens(folder) or JobProcess(folder, _Forked(self, [folder, *others], only_check=only_check))

    def spawn(self, *folders: Path, only_check: bool) -> JobProcess:
        """Begin or continue the jobs in some folders, in a new Python process, or only check them.

        Args:
            *folders: Their folders.
            only_check: As for :func:`.job_process.start`.
        """
        return start(*folders, trusted=self.packages, threads=self.threads, only_check=only_check)

    def fork(self, folders: Sequence[Path], *, only_check: bool) -> ForkedProcess | None:
        """Ask the warm parent for a process.

        Args:
            folders: The folders of its jobs.
            only_check: As for :func:`.job_process.start`.

        Returns:
            The process; None after too many deaths of warm parents.
        """
        arguments = worker_arguments(folders, self.packages, self.threads, only_check=only_check)
        while self.deaths < _MOST_DEATHS:
            parent = self._parent()
            process = parent.fork(arguments, folders[0] / LOG_FILE)
            if parent.is_alive:
                return process
            process.give_up(1)
            self.note_death(parent)
        return None

    def close(self) -> None:
        """End the warm parents."""
        for parent in self._parents:
            parent.close()

    def _parent(self) -> WarmParent:
        """The warm parent. A new one is started if it died, or if files or the environment have changed since."""
        state = (job_environment(), str(Path.cwd()), _sources())
        last = self._parents[-1] if self._parents else None
        if last is None or not last.is_alive or state != self._state:
            self._state = state
            command = [sys.executable, "-P", "-m", "metaexp.sweep.processes.worker", FORK_SERVER]
            self._parents.append(WarmParent(command, state[0]))
        return self._parents[-1]

    def note_death(self, parent: WarmParent) -> None:
        """Count the death of a warm parent and print it, once."""
        if parent.is_noted:
            return
        parent.is_noted = True
        self.deaths = self.deaths + 1 if parent.is_ready else _MOST_DEATHS
        then = "another takes its place" if self.deaths < _MOST_DEATHS else "each job imports for itself from now on"
        self.print_line(f"the process that jobs are forked from ended ({parent.why_dead()}); {then}")


class _Forked:
    """The process of a forked job. If the warm parent dies before it has forked, the job is started again.

    The methods are those of :class:`subprocess.Popen`.
    """

    def __init__(self, starter: WarmStarter, folders: Sequence[Path], *, only_check: bool) -> None:
        self.starter = starter
        self.folders = folders
        self.only_check = only_check
        self.last_signal: int | None = None
        self.process: Process = self._begin()

    def poll(self) -> int | None:
        code = self.process.poll()
        if not isinstance(self.process, ForkedProcess):
            return code
        if not self.process.parent.is_alive and self.last_signal != signal.SIGKILL:  # else it died with the job
            self.starter.note_death(self.process.parent)
        if code is None and self.process.is_lost:
            if self.last_signal is not None:
                return self.process.give_up(-self.last_signal)
            self.process.give_up(1)
            self.process = self._begin()
            return self.process.poll()
        return code

    def wait(self, timeout: float | None = None) -> int:
        return wait_for(self.poll, timeout)

    def send_signal(self, number: int) -> None:
        self.last_signal = number
        if self.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        self.last_signal = signal.SIGKILL
        if self.poll() is None:
            self.process.kill()

    def _begin(self) -> Process:
        forked = self.starter.fork(self.folders, only_check=self.only_check)
        return forked or self.starter.spawn(*self.folders, only_check=self.only_check).process


def become_job(number: int) -> list[str]:
    """Make this process a warm parent. Only its forked children return from this function.

    Args:
        number: File descriptor of the socket to the pool.

    Returns:
        The arguments of the job.
    """
    import socket

    from metaexp.machine.warm_parent import serve_forks

    arguments = serve_forks(socket.socket(fileno=number), _load, _Preparation())
    sys.argv[1:] = arguments
    sys.orig_argv[-2:] = arguments
    return arguments


def _load() -> None:
    with collect_rarely():
        from metaexp.sweep.processes.preload import import_everything

        import_everything()


class _Preparation:
    """What the warm parent does before it forks a job.

    It loads the job's data. Once for each choice of files it checks the job's configuration, so that the classes that
    it names are parsed. Once it draws figures like the job's own; the first jobs need not wait for these.

    Attributes:
        held: The data in memory, as :func:`.preload.hold_data` notes them.
        checked: The choices of files of the jobs whose configuration was checked.
        jobs: How many jobs were forked: of classification (True), and of regression (False).
    """

    def __init__(self) -> None:
        self.held: HeldData = {}
        self.checked: set[tuple[tuple[str, str], ...]] = set()
        self.jobs: Counter[bool] = Counter()

    def __call__(self, arguments: Sequence[str]) -> None:
        from metaexp.sweep.processes.preload import draw_figures, hold_data

        job = read_frozen(Path(arguments[0]))
        config: Mapping[str, Any] = job.config
        hold_data(config["dataset"], Path(config["paths"]["data"]), self.held)
        if ONLY_CHECK in arguments:
            return
        classification = bool(config["task"].get("n_way"))
        self.jobs[classification] += 1
        if self.jobs[classification] == _JOBS_WITHOUT_FIGURES + 1:
            draw_figures(classification)
        self._check(job)

    def _check(self, job: FrozenJob) -> None:
        """Check a configuration. Files of the user are not read: they may change before the next job."""
        choices = tuple(sorted(job.choices.items()))
        if job.own_code is None and choices not in self.checked:
            self.checked.add(choices)
            job.settings()


def _is_for_cpu(folder: Path) -> bool:
    """Whether a job computes on the CPU. A process that has used a GPU cannot be forked."""
    try:
        accelerator = read_frozen(folder).config["device"]["accelerator"]
    except RunFolderError:  # the job will report it
        return False
    return computes_on_cpu(accelerator)


def _sources() -> list[tuple[str, int, int]]:
    """Name, size and time of metaexp's own files and of the folders with installed packages."""
    root = Path(metaexp.__file__).parent
    installed = [Path(place) for place in sys.path if Path(place).name in ("site-packages", "dist-packages")]
    found = [(path, path.stat()) for path in (*sorted(root.rglob("*.py")), *installed) if path.exists()]
    return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found]
