"""Writes the best trial as an experiment file for `metaexp train`. Without torch."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import yaml

from metaexp.config.check import SLOTS
from metaexp.config.compose import Composer
from metaexp.core.disk.files import write_atomically
from metaexp.results.display.wording import format_score
from metaexp.results.record import read_record
from metaexp.search.files import BEST_FILE, BEST_HEADER
from metaexp.search.point import Point
from metaexp.search.summary import SearchResult, train_command, trial_folder
from metaexp.sweep.frozen_job import FrozenJob, read_frozen

_SECTIONS = ("seed", "train", "augment", "eval", "task", *SLOTS)
_GROUPS = (*SLOTS, "task")


def write_best(found: SearchResult, best: Point) -> None:
    """Write the best trial to ``best/experiment/best.yaml`` in the search's folder, and own files that it chooses.

    Args:
        found: The results of the search.
        best: The best trial.
    """
    folder = trial_folder(found, best)
    path = found.prepared.path / BEST_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    job = read_frozen(folder)
    head = BEST_HEADER.format(
        trials=sum(point.is_counted for point in found.points),
        metric=found.prepared.metric.validation,
        value=format_score(read_record(folder).val),
        overrides=shlex.join(found.overrides),
        trial=f"{best.number}, {job.what}",
        command=train_command(found, best),
    )
    text = yaml.safe_dump(_content(job), sort_keys=False, default_flow_style=False, allow_unicode=True)
    write_atomically(path, (head + text).encode())
    _write_own_choices(path.parents[1], job)


def _write_own_choices(place: Path, job: FrozenJob) -> None:
    """Write the files that the experiment chooses and that metaexp does not have, with the values of the trial.

    ``--config-dir`` names this folder, and so not the user's own one, which has them.
    """
    shipped = Composer().groups()
    for group, name in job.choices.items():
        if group in _GROUPS and name not in shipped.get(group, []):
            file = place / group / f"{name}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, yaml.safe_dump(job.config[group], sort_keys=False, allow_unicode=True).encode())


def _content(job: FrozenJob) -> dict[str, Any]:
    """All settings that decide numbers, and the chosen files. The run is tested at its end."""
    choices = [{f"override /{group}": name} for group, name in job.choices.items() if group in _GROUPS]
    sections = {key: job.config[key] for key in _SECTIONS if key in job.config}
    sections["eval"] = {**sections["eval"], "test": True}
    device = {"device": {"precision": job.config["device"]["precision"]}}
    return {"defaults": choices, **sections, **device}
