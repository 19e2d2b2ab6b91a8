"""Completed runs that a new sweep takes over, because its jobs would compute the same again. Without torch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from metaexp.results.provenance import git_state, versions
from metaexp.results.record import RunRecord
from metaexp.sweep.estimate import finished_runs
from metaexp.sweep.frozen_job import FROZEN_FILE, FrozenJob
from metaexp.sweep.job_state import LOCK_FILE, LOG_FILE, STATE_FILE

_LEFT_BEHIND = (FROZEN_FILE, STATE_FILE, LOG_FILE, LOCK_FILE, ".lock", "wandb")
_OF_RECORDED_CODE = ("metaexp.", "torch.")


def reusable(jobs: Sequence[FrozenJob], outputs: Path) -> dict[int, Path]:
    """Number of a job -> the folder of a completed run in ``outputs`` that is what the job would be.

    Configuration and seed are the same, and so are the data folder, the device's settings, the versions, and the
    commit, with nothing changed since. The user's own code is the same, too.
    """
    git, here = git_state(), versions()
    if git is not None and git.dirty:
        return {}
    runs = {path: run for path, run in finished_runs(outputs).items() if run.git == git and run.versions == here}
    found: dict[int, Path] = {}
    for job in jobs:
        same = [path for path, run in runs.items() if _is_same(run, job)]
        if same and (job.own_code or all(target.startswith(_OF_RECORDED_CODE) for target in _targets(job.config))):
            found[job.number] = same[-1]
    return found


def take_over(run: Path, folder: Path) -> None:
    """Copy a completed run into the folder of a job. What its own sweep and W&B know of it stays there."""
    shutil.copytree(run, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_LEFT_BEHIND))


def _is_same(run: RunRecord, job: FrozenJob) -> bool:
    then, now = dict(run.config["device"]), dict(job.config["device"])
    if now["threads"] is None:  # how many it gets depends on its neighbours
        del then["threads"], now["threads"]
    tested = run.test is not None or not job.config["eval"]["test"]
    same_data = run.config["paths"]["data"] == job.config["paths"]["data"]
    same_code = job.own_code == (None if run.own_code is None else run.own_code.digest)
    same_parent = (run.parent and run.parent.identity) == (job.parent and job.parent.identity)
    return run.config_hash == job.config_hash and same_parent and same_code and then == now and tested and same_data


def _targets(node: Any) -> Iterator[str]:
    """Every class that a configuration names."""
    items = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
    if isinstance(node, dict) and isinstance(node.get("_target_"), str):
        yield node["_target_"]
    for item in items:
        yield from _targets(item)
