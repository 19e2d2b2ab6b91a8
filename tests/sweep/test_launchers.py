"""Launchers of Hydra run frozen jobs, each in a process of its own; what is killed costs only itself."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf
from sampling import only_exhaustive

from metaexp.core.errors import MachineError
from metaexp.machine.threads import cores, threads_each
from metaexp.results.record import read_record
from metaexp.sweep import launcher as launchers

LAUNCHERS = [
    pytest.param("joblib", ["hydra.launcher.n_jobs=2"], id="joblib"),
    pytest.param("submitit_local", ["hydra.launcher.timeout_min=10"], id="submitit_local"),
    pytest.param("ray", [], id="ray"),
]
SUPPORT = Path(__file__).resolve().parents[1] / "support"
PLUGINS = {"joblib": "joblib", "submitit_local": "submitit", "ray": "ray"}


@only_exhaustive
@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "more"), LAUNCHERS)
def test_a_launcher_runs_each_job_in_a_process_of_its_own(
    family: ModuleType, tmp_path: Path, launcher: str, more: list[str]
) -> None:
    """Two jobs, of which one is killed; in a process as a user would start it, without anything imported before.

    The data are metaexp's own: the sweep would import a dataset of the user, and torch with it.
    """
    if importlib.util.find_spec(f"hydra_plugins.hydra_{PLUGINS[launcher]}_launcher") is None:
        pytest.skip(f"hydra-{PLUGINS[launcher]}-launcher is not installed")
    path = str(SUPPORT)
    trust = [word for package in family.TRUSTED for word in ("--trust", package)]
    command = [sys.executable, "-m", "metaexp", "train", "-m", "--config-dir", "conf", *trust, *family.COMMON]
    command += ["dataset=sinusoid", "model=net", "algorithm.case=0,7", f"hydra/launcher={launcher}", *more]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 10, done.stderr
    assert "1 of 2 jobs completed, 1 killed" in done.stdout
    assert "job 0 (algorithm.case=0): test mse " in done.stderr
    (sweep,) = (tmp_path / "outputs" / "sweeps").iterdir()
    (good,) = sweep.glob("000-*")
    assert read_record(good).status == "completed"
    assert not list(sweep.glob(".stop-*"))


def test_jobs_at_once_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("metaexp.machine.threads.cores", lambda: 8)
    assert [threads_each(n) for n in (1, 2, 3, 8, 20)] == [None, 4, 2, 1, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_each(2) is None, "the user has said it"
    assert cores() >= 1


@pytest.mark.parametrize("way", ["address", "environment", "neither"])
def test_a_ray_cluster_that_is_joined_is_given_no_memory_of_an_object_store(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    """Ray refuses the one that its launcher sets where there is none."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if way == "environment":
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6399")
    init = {"address": "127.0.0.1:6399" if way == "address" else None}
    hydra = OmegaConf.create({"sweep": {}, "launcher": {"ray": {"init": init}}})
    composer: Any = SimpleNamespace(compose=lambda overrides: SimpleNamespace(hydra=hydra))
    found = launchers._configuration(composer, [], tmp_path).hydra.launcher.ray.init
    assert ("object_store_memory" in found) == (way != "neither")
    found.setdefault("object_store_memory", 78643200)  # as the launcher does
    assert found.object_store_memory == (78643200 if way == "neither" else None)


def test_a_launcher_that_cannot_work_here_is_named_with_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that for Slurm is where there is no ``srun``."""

    class Broken:
        def launch(self, overrides: object, initial_job_idx: int) -> None:
            raise RuntimeError('Could not detect "srun", are you indeed on a slurm cluster?')

    pool: Any = object.__new__(launchers.LauncherPool)
    pool.sweep, pool.left, pool.error = SimpleNamespace(path=tmp_path), {}, None
    pool.watcher = SimpleNamespace(tick=lambda running: None)
    pool.folder, pool.launcher = launchers.StopFolder(tmp_path / ".stop-1"), Broken()
    monkeypatch.setattr(launchers, "check_in_place", lambda *_: None)  # the folder is that of no sweep
    with pytest.raises(MachineError) as caught:
        pool.run(lambda: False)
    assert str(caught.value) == (
        'Broken failed: Could not detect "srun", are you indeed on a slurm cluster. Give the same command again to '
        "continue, with another hydra/launcher=NAME if it cannot work here."
    )
