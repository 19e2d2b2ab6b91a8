"""Turns the overrides of a command into checked jobs, and into the name that finds the sweep again."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from metaexp.config.command_line.override_text import chosen_launcher
from metaexp.config.compose import Composer
from metaexp.config.hydra_internals import BasicSweeper
from metaexp.core.counted import agreeing, counted, listed
from metaexp.core.errors import ConfigError, first_line
from metaexp.run.initial.trained_before import Known, find_early, format_doubt, format_later_refusal, format_refusal
from metaexp.sweep.freezer import Freezer
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.summary import format_job

_MOST_SHOWN = 10
_MOST_JOBS = 10_000
_HERE = ("basic", "joblib", "submitit_local")
"""Launchers that run jobs on this machine, with its accelerators."""
_HOW = (
    "hydra/launcher",
    "hydra.launcher.",
    "hydra.sweep.dir",
    "sweep.name",
    "sweep.on_error",
    "sweep.retries",
    "sweep.n_jobs",
    "sweep.fork",
    "sweep.together",
    "sweep.new",
    "sweep.reuse",
)
"""Overrides that change how jobs run, but not which jobs. They may change when a sweep is continued."""


def expand(composer: Composer, overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of every job, in the order of Hydra's basic sweeper.

    Args:
        composer: Reads overrides.
        overrides: Overrides of the command, some with several values.

    Raises:
        ConfigError: An override cannot be read, or only a search can choose its value. The message lists all of them.
    """
    parsed: list[Override] = []
    problems: list[str] = []
    for line in overrides:
        override = composer.parse(line)
        if isinstance(override, str):
            problems.append(override)
        elif override.is_sweep_override() and not override.is_discrete_sweep():
            problems.append(f"{line} has no list of values; write choice(...) or range(...), or several values.")
        else:
            parsed.append(override)
    problems += _given_twice(parsed)
    parsed = _without_lists_that_a_value_replaces(parsed)
    n_jobs = math.prod(sum(1 for _ in o.sweep_iterator()) for o in parsed if o.is_sweep_override())
    if n_jobs > _MOST_JOBS and not problems:
        problems.append(
            f"these overrides give {counted(n_jobs, 'job')}; a sweep has at most {_MOST_JOBS:,}. Give fewer values."
        )
    if problems:
        raise ConfigError(problems)
    own = [o for o in parsed if o.is_hydra_override()]
    try:
        (jobs,) = BasicSweeper.split_arguments([o for o in parsed if not o.is_hydra_override()], None)
    except HydraException as error:
        raise ConfigError(first_line(error).rstrip(".")) from error
    return [[*(o.input_line or "" for o in own), *job] for job in jobs]


def swept_keys(composer: Composer, overrides: Sequence[str]) -> frozenset[str]:
    """Return the keys that have several values.

    Args:
        composer: Parses overrides.
        overrides: Those of the command line.
    """
    parsed = [composer.parse(override) for override in overrides]
    last = {o.key_or_group: o for o in parsed if isinstance(o, Override)}  # as for one run, a later one wins
    return frozenset(key for key, override in last.items() if override.is_sweep_override())


def _given_twice(overrides: Sequence[Override]) -> list[str]:
    """A sentence for each key that has several lists of values, all but the last of which would not count."""
    lists: dict[str, list[str]] = {}
    for override in overrides:
        if override.is_sweep_override():
            lists.setdefault(override.key_or_group, []).append(str(override.input_line))
    return [
        f"{key} is given {len(lines)} times ({' '.join(lines)}), and only the last would count. Give all its values "
        "at once, as in seed=0,1,5,6."
        for key, lines in lists.items()
        if len(lines) > 1
    ]


def _without_lists_that_a_value_replaces(overrides: Sequence[Override]) -> list[Override]:
    """Leave out lists of values whose key is given again: the last counts, also ``++seed=5`` after ``seed=0,1``."""
    last = {override.key_or_group: index for index, override in enumerate(overrides)}
    return [
        override
        for index, override in enumerate(overrides)
        if index == last[override.key_or_group] or not override.is_sweep_override()
    ]


def runs_here(overrides: Sequence[str]) -> bool:
    """Return whether the chosen launcher runs jobs on this machine."""
    return (chosen_launcher(overrides) or "basic").endswith(_HERE)


def freeze_all(
    freezer: Freezer, jobs: Sequence[Sequence[str]], advance: Callable[[int], None] = lambda _: None
) -> list[FrozenJob]:
    """Compose and check every job before the first one starts.

    Args:
        freezer: Composes one job.
        jobs: Overrides of each job.
        advance: Called with the number of jobs done so far.

    Raises:
        ConfigError: A job is wrong. The message lists each mistake once, and how many jobs are correct.
        MachineError: The accelerator of a job is missing on this machine.
    """
    found: dict[str, list[str]] = {}
    frozen: list[FrozenJob] = []
    with freezer.composer.loader.assume_files_unchanged():
        for number, overrides in enumerate(jobs):
            try:
                frozen.append(freezer.freeze(number, overrides))
            except ConfigError as error:
                for problem in error.problems:
                    found.setdefault(problem, []).append(f"job {number} ({' '.join(overrides)})")
            advance(number + 1)
    if found:
        raise _refusal(found, len(jobs))
    return frozen


def check_new_classes(
    jobs: Sequence[FrozenJob],
    is_tested: Callable[[FrozenJob], bool] = lambda job: bool(job.config["eval"]["test"]),
    refusal: Callable[[Known], str] = format_refusal,
    *,
    one_is_chosen: bool = False,
) -> list[str]:
    """Check that jobs, and the weights of other runs that they start from, do not train on classes of their tests.

    Names of classes tell it without the data. Jobs with the same data and the same weights are checked once. Each job
    finds itself what only examples tell.

    Args:
        jobs: The jobs.
        is_tested: Whether a job, or the best of them, will be tested.
        refusal: Formats why test classes are in the way.
        one_is_chosen: Whether one of the jobs will be chosen and then tested by another command.

    Returns:
        A warning for each dataset and weights where validation classes are trained on, or where the test of the chosen
        job would be refused.

    Raises:
        ConfigError: Test classes were trained on. The message names the jobs.
        RunFolderError: The record of the other run is damaged.
    """
    checked: dict[str, list[Known]] = {}
    refused: dict[str, list[str]] = {}
    doubted: dict[str, list[str]] = {}
    for job in jobs:
        model, parent = job.config["model"], job.parent_folder
        weights = parent or (model["weights"] if "weights_sha256" in model else None)
        data = [job.choices.get("dataset"), job.config["dataset"], job.config["paths"]["data"]]
        key = json.dumps([weights, data, parent is None])
        if key not in checked:
            checked[key] = find_early(job.config, job.choices, None if parent is None else Path(parent))
        for known in checked[key]:
            if known.test and is_tested(job):
                refused.setdefault(refusal(known), []).append(format_job(job))
            elif known.test and one_is_chosen:
                doubted.setdefault(format_later_refusal(known), []).append(format_job(job))
            if known.val:
                doubted.setdefault(format_doubt(known), []).append(format_job(job))
    if refused:
        raise _refusal(refused, len(jobs))
    return [f"warning: {format_where(doubt, of_it, len(jobs))}" for doubt, of_it in doubted.items()]


def digest(overrides: Sequence[str], config_dir: Path | None, config_name: str) -> str:
    """Return the SHA-256 (hex) of the parts of a command that decide which jobs run.

    Args:
        overrides: Overrides of the command line.
        config_dir: The user's own configuration folder.
        config_name: The root file.
    """
    asked = [line for line in overrides if not line.lstrip("+").startswith(_HOW)]
    where = None if config_dir is None else str(config_dir.resolve())
    return hashlib.sha256(json.dumps([asked, where, config_name]).encode()).hexdigest()


def sweep_name(name: str | None, swept: Sequence[str], digest: str) -> str:
    """Return ``seeds-3fa9c1d2`` for a sweep file, else ``algorithm-seed-3fa9c1d2`` with the keys that vary.

    Args:
        name: Name of the sweep file; None without one.
        swept: The keys that vary.
        digest: The digest of the command.
    """
    words = [name] if name else [key.rpartition(".")[2] for key in swept] or ["single"]
    text = "-".join(words)[:60]
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in text) + f"-{digest[:8]}"


def format_where(problem: str, jobs: Sequence[str], n_jobs: int) -> str:
    """Return a sentence with the jobs that it is about in front: ``job 3 (seed=1) and 4 more: PROBLEM``.

    Args:
        problem: The sentence.
        jobs: The jobs that it is about, as they are called.
        n_jobs: How many jobs there are in all.
    """
    where = "every job" if len(jobs) == n_jobs else listed(jobs, 1)
    return problem if n_jobs == 1 else f"{where}: {problem}"


def _refusal(found: Mapping[str, Sequence[str]], n_jobs: int) -> ConfigError:
    """The error with one sentence for each problem, with the jobs that have it, and how many jobs are correct."""
    problems = [format_where(problem, jobs, n_jobs) for problem, jobs in found.items()]
    n_correct = n_jobs - len({job for jobs in found.values() for job in jobs})
    are_correct = f"{agreeing(n_correct, 'is')} correct."
    notes = [f"The other {n_correct} of {counted(n_jobs, 'job')} {are_correct}"] if n_correct else []
    return ConfigError(problems[:_MOST_SHOWN], notes, max(0, len(problems) - _MOST_SHOWN))
