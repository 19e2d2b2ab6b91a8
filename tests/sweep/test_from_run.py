"""Sweeps whose jobs continue a run: a job with another parent is another job."""

from __future__ import annotations

import shutil
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from kept_runs import KeptRuns

from metaexp.core.errors import ConfigError
from metaexp.results.beginning import ParentRun
from metaexp.results.job_state import JobState
from metaexp.results.record import read_record
from metaexp.run.progress import Lines
from metaexp.sweep.decide import duplicates
from metaexp.sweep.estimate import estimate
from metaexp.sweep.prepare import prepare
from metaexp.sweep.reuse import _is_same
from metaexp.sweep.run import run_all

CONF = Path("conf")
ASKED = ["from=parent", "train.steps=16,20"]


def train_parent(family: ModuleType, *overrides: str) -> Path:
    from metaexp.cli.main import main

    arguments = ["train", "--config-dir", "conf", *family.COMMON, "hydra.run.dir=parent", *overrides]
    assert main(arguments) == 0
    return Path("parent")


@pytest.fixture
def parent(family: ModuleType, tmp_path: Path, kept_runs: KeptRuns) -> Path:
    """A completed run, as ``train_parent`` makes it."""

    def train(outputs: Path) -> Path:
        shutil.copytree("conf", outputs / "conf")
        with chdir(outputs):
            return train_parent(family).resolve()

    return kept_runs.copy("parent of a sweep", tmp_path, train).relative_to(tmp_path)


def test_every_job_continues_the_run_and_the_same_command_runs_nothing(
    family: ModuleType, parent: Path, silent: Lines
) -> None:
    assert run_all(ASKED, CONF, "config", silent) == 0
    prepared = prepare(ASKED, CONF, "config")
    assert prepared.sweep is not None
    records = [read_record(prepared.sweep.folder(job)) for job in prepared.jobs]
    assert [(record.status, record.steps) for record in records] == [("completed", 16), ("completed", 20)]
    assert all(record.parent is not None and record.parent.name == "parent" for record in records)
    assert [job.what for job in prepared.jobs] == ["train.steps=16", "train.steps=20"]
    assert [prepared.state(job).status for job in prepared.jobs] == ["completed", "completed"]
    shutil.rmtree(parent)
    train_parent(family, "seed=1")
    changed = prepare(ASKED, CONF, "config")
    assert changed.sweep is None
    (note,) = changed.notes
    assert "is complete, and the run that job 0 continues has changed since: this is a new sweep" in note


@pytest.mark.usefixtures("parent")
def test_a_launcher_and_the_folder_are_of_the_sweep_and_other_keys_of_hydra_are_refused() -> None:
    prepared = prepare([*ASKED, "hydra/launcher=basic", "hydra.sweep.dir=further"], CONF, "config")
    assert prepared.path == Path("further")
    assert [job.overrides for job in prepared.jobs] == [job.overrides for job in prepare(ASKED, CONF, "config").jobs]
    with pytest.raises(ConfigError, match=r"every job: hydra\.job\.chdir cannot be set"):
        prepare([*ASKED, "hydra.job.chdir=true"], CONF, "config")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["hydra/launcher@hydra.launcher=joblib"], "takes no package. Write hydra/launcher=joblib"),
        (["hydra/launcher=nope"], "hydra/launcher=nope is not there. Known: basic, joblib"),
        (["hydra/launcherz=joblib"], "hydra/launcherz cannot be set"),
        (["hydra/launcher=joblib", "hydra.launcher.n_job=2"], r"hydra\.launcher\.n_job is not .* Did you mean n_jobs"),
        (["hydra/launcher=joblib", "hydra.launcher._target_=os.system"], "it must be a plugin of Hydra"),
        (["hydra.sweep.dirs=further"], r"hydra\.sweep\.dirs is not a key of hydra\.sweep\. Did you mean dir"),
    ],
)
@pytest.mark.usefixtures("parent")
def test_a_launcher_and_a_folder_are_checked_as_without_an_earlier_run(given: list[str], problem: str) -> None:
    for asked in (ASKED, ["train.steps=16,20"]):
        with pytest.raises(ConfigError, match=problem):
            prepare([*asked, *given], CONF, "config")


@pytest.mark.usefixtures("parent")
def test_a_job_with_a_parent_is_another_than_one_without() -> None:
    job, _ = prepare(ASKED, CONF, "config").jobs
    alone = replace(job, number=1, parent=None, parent_folder=None)
    assert alone.config_hash == job.config_hash
    assert duplicates([job, alone]) == {}
    assert duplicates([job, replace(job, number=1)]) == {1: 0}
    assert (job.first_step, alone.first_step) == (12, 0)


@pytest.mark.usefixtures("parent")
def test_a_run_is_taken_over_only_for_a_job_with_the_same_parent(silent: Lines) -> None:
    assert run_all(ASKED, CONF, "config", silent) == 0
    prepared = prepare(ASKED, CONF, "config")
    assert prepared.sweep is not None
    job = prepared.jobs[0]
    record = read_record(prepared.sweep.folder(job))
    assert _is_same(record, job)
    assert not _is_same(record, replace(job, parent=None))
    assert not _is_same(replace(record, parent=None), job)
    assert isinstance(job.parent, ParentRun)
    assert not _is_same(record, replace(job, parent=replace(job.parent, weights_sha256="0" * 64)))


def test_the_time_that_is_left_counts_from_the_parents_steps(parent: Path) -> None:
    job = prepare(ASKED, CONF, "config").jobs[0]
    state = JobState("waiting", Path("log"))
    like = replace(read_record(parent), config=job.config, config_hash=job.config_hash, seconds=160.0)
    runs = {Path("elsewhere"): like}
    found = estimate(job, state, runs)
    assert found is not None
    assert found.seconds == pytest.approx(160 * (16 - 12) / 16)
    alone = estimate(replace(job, parent=None), state, runs)
    assert alone is not None
    assert alone.seconds == pytest.approx(160)


@pytest.mark.usefixtures("parent")
def test_all_problems_of_jobs_with_a_parent_are_reported_before_any_starts() -> None:
    with pytest.raises(ConfigError) as refused:
        prepare(["from=parent", "train.steps=10,20", "seed=1"], CONF, "config")
    text = str(refused.value)
    assert "every job: seed cannot change in a run that continues another" in text
    assert "job 0 (from=parent train.steps=10 seed=1): train.steps=10 is not more than the 12 steps" in text
