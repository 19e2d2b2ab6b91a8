"""Finds completed runs that a new sweep's jobs would repeat, and copies them. Without torch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from metaexp.core.disk.files import refuse_links
from metaexp.core.disk.locks import RUN_LOCK
from metaexp.core.errors import RunFolderError
from metaexp.results.job_note import LOCK_FILE, STATE_FILE
from metaexp.results.job_state import LOG_FILE
from metaexp.results.provenance import git_state, versions
from metaexp.results.record import FROZEN_FILE, RunRecord
from metaexp.sweep.estimate import finished_runs
from metaexp.sweep.frozen_job import FrozenJob

_NOT_COPIED = (FROZEN_FILE, STATE_FILE, LOG_FILE, LOCK_FILE, RUN_LOCK, "wandb", "mlflow")
_RECORDED_PACKAGES = ("metaexp.", "torch.")


def find_reusable_runs(jobs: Sequence[FrozenJob], outputs: Path) -> dict[int, Path]:
    """Find completed runs that jobs would repeat.

    A run is reusable if it has the same configuration, seed, data folder, device settings and versions, the same own
    code of the user, and the same commit, without uncommitted changes, and if every resume of it was bit for bit.

    Args:
        jobs: The jobs of the new sweep.
        outputs: Folder with finished runs and sweeps.

    Returns:
        Number of a job -> folder of the run.
    """
    git, here = git_state(), versions()
    if git is not None and git.dirty:
        return {}
    runs = {path: run for path, run in finished_runs(outputs).items() if run.git == git and run.versions == here}
    found: dict[int, Path] = {}
    for job in jobs:
        same = [path for path, run in runs.items() if _is_same(run, job) and _has_files_only(path)]
        if same and (job.own_code or all(target.startswith(_RECORDED_PACKAGES) for target in _targets(job.config))):
            found[job.number] = same[-1]
    return found


def copy_run(run: Path, folder: Path) -> None:
    """Copy a completed run into a job's folder, without the files of its own sweep, of W&B and of MLflow.

    Args:
        run: The completed run.
        folder: The job's folder.
    """
    shutil.copytree(run, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_NOT_COPIED))


def _has_files_only(folder: Path) -> bool:
    """Whether a run folder has no links, which a copy would follow, and no FIFOs or devices."""
    try:
        refuse_links(folder)
    except RunFolderError:
        return False
    return True


def _is_same(run: RunRecord, job: FrozenJob) -> bool:
    then, now = dict(run.config["device"]), dict(job.config["device"])
    if now["threads"] is None:  # the number depends on how many jobs run at once
        del then["threads"], now["threads"]
    tested = run.test is not None or not job.config["eval"]["test"]
    same_data = run.config["paths"]["data"] == job.config["paths"]["data"]
    same_code = run.exact_resume and job.own_code == (None if run.own_code is None else run.own_code.digest)
    same_parent = (run.parent and run.parent.identity) == (job.parent and job.parent.identity)
    return run.config_hash == job.config_hash and same_parent and same_code and then == now and tested and same_data


def _targets(node: Any) -> Iterator[str]:
    """Every class name of a configuration."""
    items = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
    if isinstance(node, dict) and isinstance(node.get("_target_"), str):
        yield node["_target_"]
    for item in items:
        yield from _targets(item)
