"""A new sweep takes over the completed runs that its jobs would only repeat, and no other run."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from metaexp.config.compose import Composer
from metaexp.config.identity import config_hash
from metaexp.results.provenance import versions
from metaexp.results.record import Git, RunRecord, Score, Task, read_record, write_record
from metaexp.sweep import reuse
from metaexp.sweep.folder import create
from metaexp.sweep.freezer import Freezer
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.plan import format_plan
from metaexp.sweep.prepare import prepare
from metaexp.sweep.run import run_all
from metaexp.sweep.summary import format_trackers_of_copies

CLEAN = Git("abc", dirty=False)
ASKED = ["algorithm=maml", "seed=0,1", "train.steps=100"]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reuse, "git_state", lambda *_: CLEAN)


@pytest.fixture(scope="module")
def job() -> FrozenJob:
    return Freezer(Composer(), "s", frozenset({"seed"})).freeze(0, ["algorithm=maml", "seed=0", "train.steps=100"])


def keep(record: RunRecord) -> Path:
    """Write a run folder, as a finished job of another sweep leaves it."""
    folder = Path("outputs/sweeps/old/000-run")
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    (folder / "checkpoints" / "best.json").write_text("weights")
    (folder / "output.log").write_text("messages there")
    write_record(record, folder)
    return folder


def done(job: FrozenJob) -> RunRecord:
    """The record of this job, completed."""
    return RunRecord(
        status="completed",
        name="run",
        algorithm="maml",
        dataset="glyphs",
        model=job.choices["model"],
        task=Task(5, 1, 15),
        seed=0,
        config=job.config,
        config_hash=config_hash(job.config),
        steps=100,
        seconds=40.0,
        test=Score("accuracy", 0.9, 0.01, 100),
        git=CLEAN,
        versions=versions(),
    )


def test_a_sweep_with_one_more_seed_takes_the_finished_run_over(job: FrozenJob) -> None:
    run = keep(done(job))
    overrides = [*ASKED, "sweep.reuse=true"]
    prepared = prepare(overrides, None, "config")
    text = format_plan(prepared, overrides)
    assert f"seed=0  done in {run}, which is copied" in text
    assert "1 job to run, about 40 s" in text
    assert "in Weights & Biases, runs that are copied stay where they were logged, and are not in this sweep" in text
    sweep = create(prepared.path, [], prepared.digest, prepared.jobs, prepared.reusable_runs())
    first, second = sweep.jobs()
    assert [sweep.state(first).status, sweep.state(second).status] == ["completed", "waiting"]
    assert read_record(sweep.folder(first)) == read_record(run)
    assert (sweep.folder(first) / "checkpoints" / "best.json").read_text() == "weights"
    assert not (sweep.folder(first) / "output.log").exists()
    assert [(entry["job"], entry["event"], entry["text"]) for entry in sweep.events()] == [(0, "taken over", str(run))]
    assert prepare(overrides, None, "config").sweep is not None
    assert prepare(ASKED, None, "config").sweep is not None, "the same sweep, with and without the key"


@pytest.mark.parametrize(
    ("trackers", "named"),
    [
        (["wandb"], "in Weights & Biases, runs"),
        (["mlflow", "tensorboard"], "in MLflow, runs"),
        (["mlflow", "wandb"], "in Weights & Biases and MLflow, runs"),
        (["tensorboard"], ""),
        ([], ""),
    ],
)
def test_it_is_said_which_trackers_do_not_have_a_copied_run_in_the_new_sweep(
    job: FrozenJob, trackers: list[str], named: str
) -> None:
    tracked = replace(job, config=job.config | {"tracker": {name: {} for name in trackers}})
    lines = format_trackers_of_copies([tracked], {job.number: Path("run")})
    assert "\n".join(lines).startswith(named)
    assert len(lines) == bool(named)
    assert format_trackers_of_copies([tracked], {}) == [], "nothing is copied"


def test_nothing_is_taken_over_where_nobody_asks(job: FrozenJob) -> None:
    keep(done(job))
    prepared = prepare(ASKED, None, "config")
    assert prepared.reusable_runs() == {}
    assert "is copied" not in format_plan(prepared, ASKED)


def test_only_what_would_be_the_same_is_taken_over(job: FrozenJob, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, record = Path("outputs"), done(job)

    def is_taken(record: RunRecord, job: FrozenJob = job) -> bool:
        keep(record)
        return 0 in reuse.find_reusable_runs([job], outputs)

    def elsewhere(section: str, key: str, value: object) -> RunRecord:
        return replace(record, config={**record.config, section: {**record.config[section], key: value}})

    assert is_taken(record)
    assert is_taken(elsewhere("device", "threads", 7)), "a job that leaves them open"
    assert is_taken(elsewhere("paths", "outputs", "another"))
    assert not is_taken(replace(record, config_hash="other"))
    assert not is_taken(replace(record, status="interrupted"))
    assert not is_taken(replace(record, git=Git("abd", dirty=False)))
    assert not is_taken(replace(record, git=Git("abc", dirty=True)))
    assert not is_taken(replace(record, versions={**versions(), "torch": "1.0"}))
    assert not is_taken(replace(record, test=None))
    assert not is_taken(elsewhere("device", "accelerator", "cuda"))
    assert not is_taken(elsewhere("paths", "data", "another"))
    theirs = {**job.config, "algorithm": {**job.config["algorithm"], "_target_": "theirs.MAML"}}
    assert not is_taken(record, replace(job, config=theirs))
    monkeypatch.setattr(reuse, "git_state", lambda *_: Git("abc", dirty=True))
    assert not is_taken(record)
    overrides = [*ASKED, "sweep.reuse=true"]
    assert "sweep.reuse=true copies nothing: outputs has no completed run of these jobs" in format_plan(
        prepare(overrides, None, "config"), overrides
    )


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_a_run_with_links_or_special_files_is_not_taken_over(job: FrozenJob, kind: str) -> None:
    run = keep(done(job))
    prepared = prepare([*ASKED, "sweep.reuse=true"], None, "config")
    assert prepared.reusable_runs() == {0: run}
    if kind == "link":
        Path("secret.txt").write_text("of the user")
        (run / "checkpoints" / "notes.txt").symlink_to(Path("secret.txt").absolute())
    else:
        os.mkfifo(run / "pipe")
    assert prepared.reusable_runs() == {}


def test_what_is_taken_over_is_not_started(job: FrozenJob, capsys: pytest.CaptureFixture[str]) -> None:
    run = keep(done(job))
    overrides = ["algorithm=maml", "seed=0", "train.steps=100", "sweep.reuse=true"]
    assert run_all(overrides, None, "config") == 0
    output = capsys.readouterr()
    assert f"job 0 is done in {run}, which is copied" in output.err
    assert "1 completed before, nothing to run" in output.err
    assert "1 of 1 job completed (1 before)" in output.out
