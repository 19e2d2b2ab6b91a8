"""``metaexp train -m``: every combination of some values, through Hydra's sweepers and launchers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from metaexp.core.errors import ConfigError
from metaexp.runner.compose import Composer
from metaexp.runner.overrides import first_line
from metaexp.runner.targets import trusted

EXIT_SOME_FAILED = 10
_MOST_SHOWN = 10
_HERE = ("basic", "joblib")
"""Launchers whose jobs run on this machine, so that its accelerators are theirs."""


@dataclass(frozen=True)
class Finished:
    """How one job ended. ``what``: the overrides that tell it from others. ``error``: what ended a failed one."""

    number: int
    what: str
    folder: str
    result: str
    error: str


def run_all(overrides: Sequence[str], config_dir: Path | None, config_name: str) -> int:
    """Check all jobs, run them, and print a line for each. Returns the exit code: 10 if any failed."""
    composer = Composer(config_dir, config_name)
    jobs = expand(composer, overrides)
    experiments = check_all(composer, jobs, overrides)
    published = {name: composer.published(name).resolved for name in experiments}
    print(f"{len(jobs)} jobs", flush=True)

    from metaexp.runner.multirun_task import Task

    task = Task(trusted(), swept_keys(composer, overrides), published)
    hydra = Hydra("metaexp", config_loader=composer.loader)
    try:
        returns = hydra.multirun(composer.config_name, task, [*overrides, "hydra.mode=MULTIRUN"])
    except HydraException as error:
        raise ConfigError(first_line(error)) from error
    finished = [Finished(**job.return_value) for batch in returns for job in batch]
    print(table(finished))
    return EXIT_SOME_FAILED if any(job.error for job in finished) else 0


def expand(composer: Composer, overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of every job, in the order in which the basic sweeper runs them.

    Of a sweep whose values a search will choose (``interval(0, 1)``) there is one job, without them.
    """
    parsed: list[Override] = []
    problems: list[str] = []
    for line in overrides:
        override = composer.parse(line)
        if isinstance(override, str):
            problems.append(override)
        elif not override.is_sweep_override() or override.is_discrete_sweep():
            parsed.append(override)
    if problems:
        raise ConfigError(problems)
    own = [o for o in parsed if o.is_hydra_override()]
    try:
        (jobs,) = BasicSweeper.split_arguments([o for o in parsed if not o.is_hydra_override()], None)
    except HydraException as error:
        raise ConfigError(first_line(error)) from error
    return [[*(o.input_line or "" for o in own), *job] for job in jobs]


def check_all(composer: Composer, jobs: Sequence[Sequence[str]], overrides: Sequence[str]) -> set[str]:
    """Check every job before the first one starts; returns the experiments that they are of.

    Raises ConfigError with the problems of all jobs, MachineError when the accelerator of one is not here.
    """
    here = not any(line.startswith("hydra/launcher=") and not line.endswith(_HERE) for line in overrides)
    found: dict[str, list[str]] = {}
    experiments: set[str] = set()
    for index, job in enumerate(jobs):
        try:
            experiment = composer.settings(job, on_this_machine=here).experiment
        except ConfigError as error:
            for problem in error.problems:
                found.setdefault(problem, []).append(f"job {index} ({' '.join(job)})")
        else:
            experiments |= {experiment} if experiment else set()
    if found:
        raise ConfigError(_summary(found, len(jobs)))
    return experiments


def _summary(found: Mapping[str, Sequence[str]], n_jobs: int) -> list[str]:
    """One sentence for each problem, saying which jobs have it."""
    problems = []
    for problem, jobs in found.items():
        where = "every job" if len(jobs) == n_jobs else jobs[0]
        where += f" and {len(jobs) - 1} more" if 1 < len(jobs) < n_jobs else ""
        problems.append(problem if n_jobs == 1 else f"{where}: {problem}")
    if len(problems) > _MOST_SHOWN:
        problems = [*problems[:_MOST_SHOWN], f"and {len(problems) - _MOST_SHOWN} more problems."]
    bad = {job for jobs in found.values() for job in jobs}
    if len(bad) < n_jobs:
        problems.append(f"The other {n_jobs - len(bad)} of {n_jobs} jobs are fine.")
    return problems


def swept_keys(composer: Composer, overrides: Sequence[str]) -> frozenset[str]:
    """The keys that were given several values."""
    parsed = [composer.parse(override) for override in overrides]
    return frozenset(o.key_or_group for o in parsed if isinstance(o, Override) and o.is_sweep_override())


def line(job: Finished) -> str:
    """One job in one line."""
    return f"job {job.number} ({job.what}): {'FAILED, ' + job.error if job.error else job.result}"


def table(jobs: Sequence[Finished]) -> str:
    """All jobs with their folders, failed ones with the reason."""
    failed = [job for job in jobs if job.error]
    lines = [f"{len(jobs) - len(failed)} of {len(jobs)} jobs completed"]
    for job in jobs:
        lines += [f"  {line(job)}", f"    {job.folder}"]
    return "\n".join(lines)
