"""Which jobs of a sweep train together in one process, and which seeds ``train.seeds`` asks for. Without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from hydra.core.override_parser.types import Override

from metaexp.config.accelerators import computes_on_cpu
from metaexp.config.command_line.override_text import chosen_launcher, key_of
from metaexp.config.command_line.section_overrides import continues_run
from metaexp.config.compose import Composer
from metaexp.core.errors import ConfigError
from metaexp.machine.threads import cores
from metaexp.sweep.frozen_job import FrozenJob

SEEDS = "train.seeds"
"""``train.seeds=5``: train this many seeds of an experiment together."""

_SHARED = ("algorithm", "model", "dataset", "task", "device", "paths")
"""Sections that decide the gradient. They are the same in all jobs that are trained together."""
_OWN_TRAIN_KEYS = ("eval_every", "eval_episodes", "checkpoint_every", "log_every", "patience")
"""Keys of ``train`` that may differ between these jobs. The seed, and what comes after the gradient, may differ too."""
_MOST_SEEDS = 1000


def in_groups(jobs: Sequence[FrozenJob], *, together: bool) -> list[list[FrozenJob]]:
    """Put jobs that can be trained together into groups, in the order of their first jobs.

    Args:
        jobs: Jobs of a sweep.
        together: False puts each job into a group of its own.
    """
    groups: dict[str, list[FrozenJob]] = {}
    for job in jobs:
        key = _group_key(job) if together and job.parent is None else str(job.number)
        groups.setdefault(key, []).append(job)
    return list(groups.values())


def _group_key(job: FrozenJob) -> str:
    train = {key: value for key, value in job.config["train"].items() if key not in _OWN_TRAIN_KEYS}
    return json.dumps([{key: job.config[key] for key in _SHARED}, train], sort_keys=True)


def n_together(job: FrozenJob, jobs: Sequence[FrozenJob]) -> int:
    """Return how many different jobs are trained together with ``job``, it included.

    Args:
        job: One job of the sweep.
        jobs: All jobs of the sweep.
    """
    return len({other.identity for other in jobs if other.parent is None and _group_key(other) == _group_key(job)})


def jobs_at_once(n_jobs: int | Literal["auto"], jobs: Sequence[FrozenJob], *, together: bool) -> int:
    """Return how many jobs of a sweep, or groups of jobs, run at the same time on this machine.

    With ``auto`` they are as many as there are cores, so that each computes with one thread. Such jobs make more steps
    than one with all threads (:func:`threads_each`), and on busy cores far more: the threads of a job wait for each
    other (benchmarks/sweeps/threads.py). Jobs on a GPU run one at a time.

    Args:
        n_jobs: Value of ``sweep.n_jobs``.
        jobs: All jobs of the sweep.
        together: Value of ``sweep.together``.
    """
    on_cpu = all(computes_on_cpu(job.config["device"]["accelerator"]) for job in jobs)
    most = n_jobs if n_jobs != "auto" else cores() if on_cpu else 1
    return min(most, len(in_groups(jobs, together=together)))


def asks_for_seeds(overrides: Sequence[str]) -> bool:
    """Return whether a command line has ``train.seeds``."""
    return any(key_of(line) == SEEDS for line in overrides)


def with_seeds(overrides: Sequence[str], composer: Composer, problems: list[str]) -> list[str]:
    """Replace ``train.seeds`` among the overrides of a sweep by the seeds that it asks for.

    ``train.seeds=5`` asks for five seeds from ``seed`` on, and ``train.seeds=[0,3,7]`` for these.

    Args:
        overrides: Those of the jobs.
        composer: Reads overrides, and knows the configuration's own seed.
        problems: A sentence is added for each mistake.

    Returns:
        The overrides with several values of ``seed``.
    """
    given = [line for line in overrides if key_of(line) == SEEDS]
    first = [line for line in overrides if key_of(line) == "seed"]
    rest = [line for line in overrides if line not in given and line not in first]
    if len(given) > 1:
        problems.append(f"{SEEDS} is given {len(given)} times; give it once.")
        return rest
    seeds: Any = _value(given[0], composer)
    start: Any = _value(first[-1], composer) if first else None
    if first and (not _is_seed(start) or isinstance(seeds, list)):
        problems.append(
            f"{first[-1]} and {given[0]} both choose seeds. Give {SEEDS}=N with one first seed (seed=K), "
            f"or {SEEDS}=[...] alone."
        )
    elif isinstance(seeds, list) and seeds and all(map(_is_seed, seeds)) and len(set(seeds)) == len(seeds):
        return [*rest, f"seed={','.join(map(str, seeds))}"]
    elif _is_seed(seeds) and 1 <= seeds <= _MOST_SEEDS:
        low = start if first else _own_seed(rest, composer)
        return [*rest, f"seed={','.join(str(seed) for seed in range(low, low + seeds))}"]
    else:
        problems.append(
            f"{given[0]} must be a number of seeds from 1 to {_MOST_SEEDS}, or a list of different seeds, "
            f"as in {SEEDS}=5 or {SEEDS}=[0,3,7]."
        )
    return rest


def together_problems(overrides: Sequence[str]) -> list[str]:
    """Return why jobs of these overrides cannot be trained together, a sentence each."""
    found = []
    if continues_run(overrides):
        found.append(
            "runs that continue another one (from=RUN) are not trained together; leave out train.seeds and "
            "sweep.together."
        )
    found += [
        f"{line} profiles a run that is trained alone; leave it out, or train.seeds and sweep.together."
        for line in overrides
        if key_of(line) == "train.profile" or line.lstrip("+") == "debug=profile"
    ]
    launcher = chosen_launcher(overrides)
    if launcher is not None:
        found.append(
            f"hydra/launcher={launcher} starts each job by itself, and train.seeds and sweep.together=true train jobs "
            "in one process. Leave out one of them."
        )
    return found


def _value(line: str, composer: Composer) -> Any:
    """The value of an override; None if it has several or cannot be read."""
    parsed = composer.parse(line)
    return parsed.value() if isinstance(parsed, Override) and not parsed.is_sweep_override() else None


def _is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _own_seed(overrides: Sequence[str], composer: Composer) -> int:
    """The seed of the configuration files that are chosen."""
    chosen = [line for line in overrides if "." not in key_of(line) and _value(line, composer) is not None]
    try:
        seed = composer.compose(chosen).config.seed
    except ConfigError:  # it is reported for every job
        return 0
    return seed if _is_seed(seed) else 0
