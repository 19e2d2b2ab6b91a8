"""Runs the jobs of a sweep through a launcher of Hydra: joblib, submitit (SLURM or local), Ray.

The launcher calls a :class:`Task` for each job, possibly on another machine, with the number of the job. The task
starts the frozen job in its own process and waits for it, so that a killed job does not end the others. The launchers
cannot tell us that a job has ended, nor stop jobs. A :class:`StopFolder` inside the sweep's folder, on a file system
that all machines share, does both.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from metaexp.config.classes.targets import trust_arguments
from metaexp.config.command_line.override_text import key_of
from metaexp.config.compose import Composer
from metaexp.config.hydra_internals import Callbacks, ConfigLoaderImpl, ConfigSearchPathImpl
from metaexp.core.disk.files import write_atomically
from metaexp.core.errors import ConfigError, MachineError, first_line
from metaexp.machine.requeue import save_before_requeue
from metaexp.machine.signals import stop_on_signals
from metaexp.machine.threads import cores, threads_each
from metaexp.results.job_state import JobState
from metaexp.sweep.folder import Sweep, check_in_place, open_sweep
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.options import SweepOptions
from metaexp.sweep.processes.job_process import JobProcess, start
from metaexp.sweep.processes.pool import Pool
from metaexp.sweep.queue import SweepQueue, Watcher

_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_UNTIL_LEFT = 10.0
_STOP = "stop"


class StopFolder:
    """A folder of marker files: which jobs have ended, and whether all jobs are to stop.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def ask_to_stop(self) -> None:
        """Ask all tasks to stop their jobs and to start no other."""
        if self.path.is_dir():
            (self.path / _STOP).touch()

    def stop_requested(self) -> bool:
        """Return whether to stop. It is missing if the sweep's command has ended; then jobs stop too."""
        return (self.path / _STOP).exists() or not self.path.is_dir()

    def mark_ended(self, number: int) -> None:
        """Mark a job that has ended and is not tried again."""
        if self.path.is_dir():
            write_atomically(self.path / str(number), b"")

    def has_ended(self, number: int) -> bool:
        """Return whether a job has ended and is not tried again."""
        return (self.path / str(number)).exists()


class Task:
    """The function that a launcher calls with a configuration that holds the number of a job.

    Args:
        sweep: The sweep's folder.
        stop_folder: Path of the stop folder.
        options: Options of the sweep.
        packages: Packages whose classes the job may use.
        threads: Value of ``device.threads`` if the job leaves it open.
    """

    def __init__(
        self, sweep: Path, stop_folder: Path, options: SweepOptions, packages: tuple[str, ...], threads: int | None
    ) -> None:
        self.sweep = sweep
        self.folder = StopFolder(stop_folder)
        self.options = replace(options, n_jobs=1)
        self.packages = packages
        self.threads = threads

    def __call__(self, config: DictConfig) -> None:
        """Run the job until it ends or all jobs are asked to stop."""
        sweep = open_sweep(self.sweep)
        job = sweep.job(config.job)
        started: list[JobProcess] = []  # not in self, which is pickled when the job goes back into the queue

        def begin(folder: Path, /, *others: Path, only_check: bool = False) -> JobProcess:
            process = start(folder, *others, trusted=self.packages, threads=self.threads, only_check=only_check)
            started.append(process)
            return started[-1]

        with stop_on_signals() as signalled, save_before_requeue(started):
            queue = SweepQueue(sweep, [job], self.options, begin, JobReporter(self.folder, self.options))
            Pool(queue, 1).run(lambda: bool(signalled) or self.folder.stop_requested())


class JobReporter:
    """Writes to the stop folder, where the launcher runs, that a job has ended.

    Args:
        folder: The stop folder.
        options: Options of the sweep.
    """

    def __init__(self, folder: StopFolder, options: SweepOptions) -> None:
        self.folder = folder
        self.options = options

    def ended(self, job: FrozenJob, state: JobState) -> None:
        """Mark the job as ended. If it failed and ``sweep.on_error=stop`` is set, ask all jobs to stop.

        Args:
            job: The job.
            state: How it ended.
        """
        if state.ended_badly and self.options.on_error == "stop":
            self.folder.ask_to_stop()
        self.folder.mark_ended(job.number)

    def retried(self, job: FrozenJob, state: JobState, attempt: int) -> None:
        """Do nothing: a job that is tried again has not ended.

        Args:
            job: The job.
            state: How it ended.
            attempt: The number of the next try.
        """

    def runs_elsewhere(self, job: FrozenJob) -> None:
        """Do nothing: the process that runs the job marks its end."""

    def tick(self, running: Sequence[FrozenJob]) -> None:
        """Do nothing: progress is shown where the command runs."""


class _NumbersOnly(ConfigLoaderImpl):
    """Composes the configuration that a launcher hands to a task: the job's number. Reads no files."""

    def __init__(self) -> None:
        super().__init__(ConfigSearchPathImpl())

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        config: DictConfig = master_config.copy()
        with open_dict(config):
            config.job = int(sweep_overrides[0].partition("=")[2])
        return config


class LauncherPool:
    """Runs jobs of a sweep through a launcher of Hydra.

    Args:
        sweep: The sweep.
        jobs: The jobs to run.
        options: Options of the sweep.
        composer: Composes Hydra's part of the configuration.
        overrides: Overrides of the command line, which choose the launcher.
        watcher: Is called when something happens to a job.

    Raises:
        ConfigError: The launcher cannot be made.
    """

    def __init__(
        self,
        sweep: Sweep,
        jobs: Sequence[FrozenJob],
        options: SweepOptions,
        composer: Composer,
        overrides: Sequence[str],
        watcher: Watcher,
    ) -> None:
        self.sweep = sweep
        self.left = {job.number: job for job in jobs}
        self.watcher = watcher
        self.folder = StopFolder(sweep.path.resolve() / f".stop-{secrets.token_hex(4)}")
        self.config = _configuration(composer, overrides, sweep.path.resolve())
        threads = _threads(self.config, len(sweep.names()))
        task = Task(sweep.path.resolve(), self.folder.path, options, trust_arguments(), threads)
        self.launcher = _launcher(self.config, task)
        self.error: Exception | None = None

    def run(self, stop: Callable[[], bool]) -> None:
        """Run the jobs. The launcher blocks in a thread, so that this thread can ask jobs to stop and return early.

        Args:
            stop: Called regularly. Once it returns True, all running jobs save and stop, and no other starts.

        Raises:
            MachineError: The launcher fails.
        """
        self.folder.path.mkdir()
        logging.getLogger("submitit").setLevel(logging.ERROR)
        thread = threading.Thread(target=self._launch, args=(list(self.left),), daemon=True)
        thread.start()
        stop_time: float | None = None
        while thread.is_alive():
            check_in_place(self.sweep.path, "hydra.sweep.dir")
            if stop_time is None and stop():
                self.folder.ask_to_stop()
                stop_time = time.monotonic()
            running = [job for job in self.left.values() if self.sweep.state(job).status == "running"]
            if stop_time is not None and not running and time.monotonic() - stop_time > _SECONDS_UNTIL_LEFT:
                return  # other jobs wait in the cluster's queue; once started, they see the request to stop, and end
            self._report()
            self.watcher.tick(running)
            thread.join(_SECONDS_BETWEEN_LOOKS)
        self._report()
        shutil.rmtree(self.folder.path, ignore_errors=True)
        if self.error is not None:
            raise MachineError(
                f"{type(self.launcher).__name__} failed: {_reason(self.error).rstrip('.?!')}. "
                "Give the same command again to continue, with another hydra/launcher=NAME if it cannot work here."
            ) from self.error

    def _launch(self, numbers: Sequence[int]) -> None:
        try:
            self.launcher.launch([[f"job={number}"] for number in numbers], initial_job_idx=0)
        except Exception as error:
            self.error = error

    def _report(self) -> None:
        for number in [number for number in self.left if self.folder.has_ended(number)]:
            job = self.left.pop(number)
            self.watcher.ended(job, self.sweep.state(job))


def _reason(error: Exception) -> str:
    """The first line of an error. For submitit's error about a killed job, also the job's state and its last line."""
    lost = re.search(r"has not produced any output \(state: (.*?)\)", str(error))
    if lost is None:
        return first_line(error).rstrip(".")
    job = first_line(error).partition(" with path ")[0]
    last = str(error).strip().splitlines()[-1].rstrip(".")
    return f"{job} ended without a result (state {lost[1]}; {last}), so the others were asked to save and stop"


def _configuration(composer: Composer, overrides: Sequence[str], place: Path) -> DictConfig:
    """Hydra's part of the configuration, with the launcher and the sweep's folder."""
    own = [line for line in overrides if key_of(line).startswith(("hydra/launcher", "hydra.launcher"))]
    hydra = composer.compose(own).hydra
    config = OmegaConf.create({"hydra": hydra})
    with open_dict(config):
        config.hydra.sweep.dir = str(place)
        config.hydra.sweep.subdir = "."
        ray = config.hydra.launcher.get("ray")
        if ray is not None and (ray.init.get("address") or os.environ.get("RAY_ADDRESS")):
            ray.init.setdefault("object_store_memory", None)  # the launcher sets it, and a cluster refuses it
    return config


def _launcher(config: DictConfig, task: Task) -> Launcher:
    context = HydraContext(config_loader=_NumbersOnly(), callbacks=Callbacks())
    try:
        return Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
    except Exception as error:  # plugins raise many kinds of errors for wrong keys
        raise ConfigError(
            f"hydra/launcher cannot be made: {first_line(error.__cause__ or error).rstrip('.')}."
        ) from error


def _threads(config: DictConfig, n_jobs: int) -> int | None:
    """Threads of each job: a share of the cores if jobs run here; None if another machine has to decide."""
    target = str(config.hydra.launcher["_target_"])
    if target.endswith(".JoblibLauncher"):
        at_once = int(config.hydra.launcher.n_jobs)
        return threads_each(min(n_jobs, at_once if at_once > 0 else max(1, cores() + 1 + at_once)))
    return threads_each(n_jobs) if target.endswith(".LocalLauncher") else None
