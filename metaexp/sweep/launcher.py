"""Jobs of a sweep through a launcher of Hydra: joblib, submitit (SLURM or local), Ray.

The launcher brings a :class:`Task` to wherever it runs things. The task starts the job in a process of its own and
waits for it, so that a job that is killed costs only itself. Nothing is composed there: what travels is the number of
a frozen job. A folder inside the sweep's, on the file system that both sides see, carries what the launchers
do not: which jobs ended, and that all are to stop.
"""

from __future__ import annotations

import logging
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

from metaexp.config.classes.targets import trusted
from metaexp.config.compose import Composer
from metaexp.config.hydra_internals import Callbacks, ConfigLoaderImpl, ConfigSearchPathImpl
from metaexp.config.overrides import first_line
from metaexp.config.section_overrides import key_of
from metaexp.core.errors import ConfigError, MachineError
from metaexp.core.files import write_atomically
from metaexp.machine.signals import stop_on_signals
from metaexp.machine.threads import cores, threads_each
from metaexp.sweep.folder import Sweep, open_sweep
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.job_process import JobProcess, start
from metaexp.sweep.job_state import JobState
from metaexp.sweep.options import SweepOptions
from metaexp.sweep.pool import Pool
from metaexp.sweep.queue import SweepQueue, Watcher

_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_UNTIL_LEFT = 10.0
_STOP = "stop"
_BASIC = "basic"


def chosen_launcher(overrides: Sequence[str]) -> str | None:
    """The launcher that the command line chooses; None for the pool of this process, which is the usual one."""
    chosen = [line.partition("=")[2] for line in overrides if key_of(line) == "hydra/launcher"]
    return None if not chosen or chosen[-1] == _BASIC else chosen[-1]


class StopFolder:
    """A folder in which jobs and the command that launched them tell each other what ended, and to stop."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ask_to_stop(self) -> None:
        """Every task stops its job, and begins no other."""
        if self.path.is_dir():
            (self.path / _STOP).touch()

    def stop_is_asked(self) -> bool:
        """Whether to stop; also where the folder is gone, and nobody waits for an answer."""
        return (self.path / _STOP).exists() or not self.path.is_dir()

    def settle(self, number: int) -> None:
        """Say that a job has ended, and is not tried again."""
        if self.path.is_dir():
            write_atomically(self.path / str(number), b"")

    def is_settled(self, number: int) -> bool:
        """Whether a job has ended, and is not tried again."""
        return (self.path / str(number)).exists()


class Task:
    """What a launcher calls, wherever it runs things, with a configuration that holds the number of a job."""

    def __init__(
        self, sweep: Path, stop_folder: Path, options: SweepOptions, packages: tuple[str, ...], threads: int | None
    ) -> None:
        self.sweep = sweep
        self.folder = StopFolder(stop_folder)
        self.options = replace(options, n_jobs=1)
        self.packages = packages
        self.threads = threads

    def __call__(self, config: DictConfig) -> None:
        """Run the job to its end, or to the wish to stop."""
        sweep = open_sweep(self.sweep)
        job = next(job for job in sweep.jobs() if job.number == config.job)
        with stop_on_signals() as signalled:
            queue = SweepQueue(sweep, [job], self.options, self._start, JobReporter(self.folder, self.options))
            Pool(queue, 1).run(lambda: bool(signalled) or self.folder.stop_is_asked())

    def _start(self, folder: Path) -> JobProcess:
        return start(folder, self.packages, self.threads)


class JobReporter:
    """A watcher on the far side, which tells by letter that a job has ended."""

    def __init__(self, folder: StopFolder, options: SweepOptions) -> None:
        self.folder = folder
        self.options = options

    def ended(self, job: FrozenJob, state: JobState) -> None:
        """Tell the sweep that a job has ended, and ask for a stop where one bad end is enough."""
        if state.ended_badly and self.options.on_error == "stop":
            self.folder.ask_to_stop()
        self.folder.settle(job.number)

    def again(self, job: FrozenJob, state: JobState, attempt: int) -> None:
        """Nothing: a job that is tried again has not ended."""

    def elsewhere(self, job: FrozenJob) -> None:
        """Nothing: the process that runs the job tells its own sweep."""

    def tick(self, running: Sequence[FrozenJob]) -> None:
        """Nothing: nobody watches the jobs here."""


class _NumbersOnly(ConfigLoaderImpl):
    """Gives a launcher the configuration of a job, which is its number, without reading files."""

    def __init__(self) -> None:
        super().__init__(ConfigSearchPathImpl())

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        config: DictConfig = master_config.copy()
        with open_dict(config):
            config.job = int(sweep_overrides[0].partition("=")[2])
        return config


class Launched:
    """Runs ``jobs`` of a sweep through the launcher that ``overrides`` choose."""

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
        threads = _threads(self.config, len(sweep.jobs()))
        task = Task(sweep.path.resolve(), self.folder.path, options, trusted(), threads)
        self.launcher = _launcher(self.config, task)
        self.error: Exception | None = None

    def run(self, stop: Callable[[], bool]) -> None:
        """Run them. The launcher waits in a thread, so that this one can stop and leave."""
        self.folder.path.mkdir()
        logging.getLogger("submitit").setLevel(logging.ERROR)
        thread = threading.Thread(target=self._launch, args=(list(self.left),), daemon=True)
        thread.start()
        asked: float | None = None
        while thread.is_alive():
            if asked is None and stop():
                self.folder.ask_to_stop()
                asked = time.monotonic()
            running = [job for job in self.left.values() if self.sweep.state(job).status == "running"]
            if asked is not None and not running and time.monotonic() - asked > _SECONDS_UNTIL_LEFT:
                return  # others are in a queue; when their turn comes, they find the wish to stop, and end
            self._report()
            self.watcher.tick(running)
            thread.join(_SECONDS_BETWEEN_LOOKS)
        self._report()
        shutil.rmtree(self.folder.path, ignore_errors=True)
        if self.error is not None:
            raise MachineError(
                f"{type(self.launcher).__name__} failed: {first_line(self.error)}. The same command goes on."
            ) from self.error

    def _launch(self, numbers: Sequence[int]) -> None:
        try:
            self.launcher.launch([[f"job={number}"] for number in numbers], initial_job_idx=0)
        except Exception as error:
            self.error = error

    def _report(self) -> None:
        for number in [number for number in self.left if self.folder.is_settled(number)]:
            job = self.left.pop(number)
            self.watcher.ended(job, self.sweep.state(job))


def _configuration(composer: Composer, overrides: Sequence[str], place: Path) -> DictConfig:
    """Hydra's part of the configuration, with the launcher chosen and the sweep's folder."""
    own = [line for line in overrides if key_of(line).startswith(("hydra/launcher", "hydra.launcher"))]
    hydra = composer.compose(own).hydra
    config = OmegaConf.create({"hydra": hydra})
    with open_dict(config):
        config.hydra.sweep.dir = str(place)
        config.hydra.sweep.subdir = "."
    return config


def _launcher(config: DictConfig, task: Task) -> Launcher:
    context = HydraContext(config_loader=_NumbersOnly(), callbacks=Callbacks())
    try:
        return Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
    except Exception as error:  # of whatever the plugin makes of its keys
        raise ConfigError(f"hydra/launcher cannot be made: {first_line(error.__cause__ or error)}.") from error


def _threads(config: DictConfig, n_jobs: int) -> int | None:
    """Threads for each job: a share of this machine's cores where the jobs run here, else what the place gives."""
    target = str(config.hydra.launcher["_target_"])
    if target.endswith(".JoblibLauncher"):
        at_once = int(config.hydra.launcher.n_jobs)
        return threads_each(min(n_jobs, at_once if at_once > 0 else max(1, cores() + 1 + at_once)))
    return threads_each(n_jobs) if target.endswith(".LocalLauncher") else None
