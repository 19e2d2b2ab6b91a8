"""Run a saved experiment with several seeds, and compare with its published number."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from metaexp.config.command_line.override_text import key_of
from metaexp.config.compose import Composer, Job
from metaexp.config.experiment_header import departures
from metaexp.config.identity import config_hash
from metaexp.config.schema import Settings
from metaexp.core.counted import counted
from metaexp.core.disk.files import write_atomically
from metaexp.core.errors import ConfigError, MetaexpError, RunFolderError
from metaexp.core.nested import sha256_of
from metaexp.reproduce.rerun import FOLDER
from metaexp.results.record import RECORD_FILE, RunRecord, read_record
from metaexp.run.progress import Display, default_display
from metaexp.tracking.wandb_names import OF_ONE_RUN, notes_of_one_run

PLAN_FILE = "plan.json"
SHORT_FRACTION = 100
"""A shortened schedule has the published number of steps divided by this."""
SHORT_STEPS = 1000
"""A shortened schedule has at most this many steps."""
SHORT_SECONDS = 300.0
"""The seconds that one seed of a shortened schedule may take at the measured rate, with validation and test. Training
gets at least half of them, even if validation and test need more than the other half."""


class SeedsPlan(NamedTuple):
    """The plan of the runs of an experiment.

    Attributes:
        name: The experiment.
        overrides: The overrides of the command, without the seed.
        published: The settings of the experiment without overrides.
        base: The settings with them.
        seeds: One run each, in ``folder/seed<k>``.
        short: Whether the schedule is cut.
        folder: Where the runs go.
        departs: What the experiment says of its departures from the paper.
        composer: Composes the runs.
    """

    name: str
    overrides: list[str]
    published: Settings
    base: Settings
    seeds: list[int]
    short: bool
    folder: Path
    departs: str | None
    composer: Composer


class SeedRuns(NamedTuple):
    """The completed runs of a plan, and the errors of the others by seed."""

    plan: SeedsPlan
    records: list[RunRecord]
    failed: dict[int, MetaexpError]


def plan_seeds(
    name: str, overrides: Sequence[str], *, seeds: int, short: bool, config_dir: Path | None = None
) -> SeedsPlan:
    """Compose and check all runs. Nothing is written.

    The seeds are that of the settings and the next ones. The folder does not depend on how many there are, so more
    seeds can be added later.

    Args:
        name: The experiment.
        overrides: The overrides of the command.
        seeds: How many runs.
        short: Whether to cut the schedule, so that a seed takes minutes.
        config_dir: The user's own configuration files.

    Raises:
        ConfigError: The settings cannot work.
    """
    if seeds < 1:
        raise ConfigError(f"--seeds {seeds} must be 1 or more.")
    keys = [key_of(line) for line in overrides]
    if short and "train.steps" in keys:
        raise ConfigError("--short chooses train.steps; give one of the two.")
    if "experiment" in keys:
        raise ConfigError(f"the experiment is {name}; remove the override experiment=...")
    composer = Composer(config_dir)
    published = composer.published(name)
    base = composer.settings([f"experiment={name}", *overrides])
    kept = [line for line, key in zip(overrides, keys, strict=True) if key != "seed"]
    apart = config_hash(base.resolved | {"seed": 0})
    where = [apart, base.resolved["device"]]  # a run with other threads must not be continued by mistake
    digest = sha256_of(where)[:8]
    folder = base.paths.outputs / FOLDER / f"{name}{'-short' if short else ''}-{digest}"
    numbers = list(range(base.seed, base.seed + seeds))
    return SeedsPlan(name, kept, published, base, numbers, short, folder, departures(name, config_dir), composer)


def run_seeds(plan: SeedsPlan, display: Display | None = None) -> SeedRuns:
    """Run what is missing. Completed seeds are kept, interrupted ones are continued.

    If one seed fails, the others still run.

    Args:
        plan: The result of :func:`plan_seeds`.
        display: Shows progress.

    Raises:
        Interrupted: A signal ended the runs, after a clean save.
    """
    from metaexp.machine.signals import Interrupted

    display = display or default_display()
    steps = _steps(plan, display.print_line)
    jobs = {seed: _job(plan, steps, seed) for seed in plan.seeds}  # all are checked before the first starts
    failed: dict[int, MetaexpError] = {}
    with _unset_names_of_one_run(len(jobs) > 1, display):
        for seed, job in jobs.items():
            try:
                _run(plan, job, seed, plan.folder / f"seed{seed}", display)
            except Interrupted:
                raise
            except MetaexpError as error:
                failed[seed] = error
                display.print_line(f"seed {seed} failed: {error}")
    records = [_checked(plan.folder / f"seed{seed}", job) for seed, job in jobs.items() if seed not in failed]
    return SeedRuns(plan, records, failed)


@contextmanager
def _unset_names_of_one_run(has_several: bool, display: Display) -> Iterator[None]:
    """Unset what names one run of W&B within this block, where there are several runs."""
    for note in notes_of_one_run("seed") if has_several else []:
        display.print_line(note)
    given = {name: os.environ.pop(name) for name in OF_ONE_RUN if has_several and name in os.environ}
    try:
        yield
    finally:
        os.environ.update(given)


def _run(plan: SeedsPlan, job: Job, seed: int, folder: Path, display: Display) -> None:
    from metaexp.run.initial.command import Provenance
    from metaexp.run.job import resume_job, run_job

    if not (folder / RECORD_FILE).exists():
        provenance = Provenance.of_job(job, plan.published, job.composed.hydra.overrides.task)
        run_job(job.settings, provenance, folder, display)
    elif (record := read_record(folder)).status == "completed":
        display.print_line(f"seed {seed} was completed {record.finished}: {folder}")
    else:
        resume_job(folder, display)


def _checked(folder: Path, job: Job) -> RunRecord:
    """The record of a seed. Raises RunFolderError when the experiment's file has changed since the run began."""
    record = read_record(folder)
    if config_hash(record.config) != config_hash(job.settings.resolved):
        raise RunFolderError(
            f"{folder} was made with other settings than the experiment has now. Move it away to run this seed again."
        )
    return record


def _job(plan: SeedsPlan, steps: int | None, seed: int) -> Job:
    cut = [] if steps is None else [f"train.steps={steps}"]
    return plan.composer.job([f"experiment={plan.name}", *plan.overrides, *cut, f"seed={seed}"])


def _steps(plan: SeedsPlan, print_line: Callable[[str], None]) -> int | None:
    """The number of steps of a cut schedule, else None. Prints first how long everything will take.

    The number depends on how fast this machine is, so it is kept, and the same command continues with the same.
    """
    kept = plan.folder / PLAN_FILE
    steps = _kept(kept) if plan.short and kept.exists() else None
    left = [seed for seed in plan.seeds if not _is_complete(plan.folder / f"seed{seed}")]
    if not left and (steps is not None or not plan.short):
        return steps

    from metaexp.run.throughput import measure

    rate = measure(plan.base, print_line)
    full = plan.base.train.steps
    if plan.short and steps is None:
        most = max(min(full // SHORT_FRACTION, SHORT_STEPS), min(full, 1))
        seconds = max(SHORT_SECONDS - rate.seconds(plan.base, 0), SHORT_SECONDS / 2)
        fitting = int(seconds / rate.step) if rate.step else most
        steps = min(most, max(_round_down(fitting), 1)) if most else 0
        plan.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, (json.dumps({"steps": steps, "of": full}) + "\n").encode())
    seconds_of_a_run = rate.seconds(plan.base, full if steps is None else steps)
    print_line(_format_estimate(plan, rate.step, seconds_of_a_run, steps, len(left)))
    return steps


def _format_estimate(plan: SeedsPlan, step_seconds: float, seconds: float, steps: int | None, left: int) -> str:
    from metaexp.results.display.wording import format_times

    full = plan.base.train.steps
    what = counted(full, "step") if steps is None else f"{steps:,} of {counted(full, 'step')}"
    one, in_all = format_times([seconds, seconds * max(left, 1)])
    more = f" for each of {counted(left, 'seed')}, {in_all} in all" if left > 1 else ""
    return f"{plan.name}: {what} at {step_seconds:.2g} s, as measured here: about {one}{more}"


def _round_down(number: int) -> int:
    """Round down to 1, 2 or 5 times a power of ten, so that small changes of speed change nothing."""
    if number < 1:
        return 0
    unit = 10 ** (len(str(number)) - 1)
    return int(max(step for step in (1, 2, 5) if step * unit <= number) * unit)


def _kept(path: Path) -> int:
    try:
        content: Any = json.loads(path.read_bytes())
        steps = content["steps"]
        if type(steps) is not int or steps < 0:
            raise ValueError(f"steps is {steps!r}")
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise RunFolderError(f"{path} is damaged ({error}). Remove {path.parent} to start again.") from error
    return steps


def _is_complete(folder: Path) -> bool:
    return (folder / RECORD_FILE).exists() and read_record(folder).status == "completed"
