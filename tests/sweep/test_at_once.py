"""How many jobs run at the same time: as many as are asked for, or one on each core."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from metaexp.config import accelerators
from metaexp.config.compose import Composer
from metaexp.core.errors import ConfigError
from metaexp.machine.threads import threads_each
from metaexp.results.record import read_record
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.groups import jobs_at_once
from metaexp.sweep.options import SweepOptions
from metaexp.sweep.prepare import prepare
from metaexp.sweep.run import run_all

CONF = Path("conf")


@pytest.fixture
def jobs(family: ModuleType) -> Callable[..., list[FrozenJob]]:
    """Makes six jobs, with more overrides."""
    return lambda *more: prepare([*family.COMMON, "seed=0,1,2", "clip=none,norm", *more], CONF, "config").jobs


def test_auto_gives_each_core_a_job_with_one_thread(
    jobs: Callable[..., list[FrozenJob]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaexp.sweep.groups.cores", lambda: 4)
    monkeypatch.setattr("metaexp.machine.threads.cores", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS")
    six = jobs()
    assert jobs_at_once("auto", six, together=False) == 4
    assert threads_each(jobs_at_once("auto", six, together=False)) == 1
    assert jobs_at_once("auto", six[:3], together=False) == 3, "no more than there are"
    assert jobs_at_once(2, six, together=False) == 2, "a number that is given stays"
    assert jobs_at_once("auto", six, together=True) == 1, "a group that trains together is one process"


@pytest.mark.parametrize(("gpu", "at_once"), [(True, 1), (False, 4)])
def test_auto_runs_jobs_on_a_gpu_one_at_a_time(
    jobs: Callable[..., list[FrozenJob]], monkeypatch: pytest.MonkeyPatch, gpu: bool, at_once: int
) -> None:
    monkeypatch.setattr("metaexp.sweep.groups.cores", lambda: 4)
    monkeypatch.setattr(accelerators, "_has_gpu", lambda: gpu)
    assert jobs_at_once("auto", jobs("device=auto"), together=False) == at_once
    assert jobs_at_once("auto", jobs(), together=False) == 4, "jobs with device=cpu leave the GPU alone"


def test_another_word_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sweep\.n_jobs=all must be an integer >= 1 or auto"):
        SweepOptions.parse(["sweep.n_jobs=all"], Composer())
    assert SweepOptions.parse(["sweep.n_jobs=auto"], Composer()).options.n_jobs == "auto"


def test_a_sweep_runs_with_auto(family: ModuleType) -> None:
    given = [*family.COMMON, "seed=0,1", "sweep.n_jobs=auto", "hydra.sweep.dir=found"]
    assert run_all(given, CONF, "config") == 0
    assert {read_record(folder.parent).status for folder in Path("found").glob("*/record.json")} == {"completed"}
