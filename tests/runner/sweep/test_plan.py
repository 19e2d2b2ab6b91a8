"""A plan says what would be done and how long it takes, and writes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from metaexp.results.record import RunRecord, Task, write_record
from metaexp.runner.compose import Composer
from metaexp.runner.identity import config_hash
from metaexp.runner.schema import Settings
from metaexp.runner.sweep.ledger import create
from metaexp.runner.sweep.plan import plan
from metaexp.runner.sweep.prepare import prepare
from metaexp.runner.sweep.state import begun, write_note

ASKED = ["seed=0,0,1", "algorithm=maml,proto_net", "train.steps=100"]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def record_of(settings: Settings, seconds: float) -> RunRecord:
    """A completed run of these settings."""
    return RunRecord(
        status="completed",
        name="run",
        algorithm=settings.choices["algorithm"],
        dataset=settings.choices["dataset"],
        model=settings.choices["model"],
        task=Task(*settings.task.shape),
        seed=settings.seed,
        config=settings.resolved,
        config_hash=config_hash(settings.resolved),
        steps=settings.train.steps,
        seconds=seconds,
    )


def keep(record: RunRecord, name: str) -> None:
    folder = Path("outputs", name)
    folder.mkdir(parents=True)
    write_record(record, folder)


def planned(*more: str) -> str:
    overrides = [*ASKED, *more]
    return plan(prepare(overrides, None, "config"), overrides)


def test_a_plan_tells_duplicates_and_that_nothing_is_known_and_writes_nothing() -> None:
    text = planned()
    assert "6 jobs in outputs/sweeps/seed-algorithm-" in text
    assert ": not there yet" in text
    assert "the same as job 0" in text
    assert "4 jobs to run, the time of 4 is unknown, for outputs holds no finished run like them" in text
    assert "(maml on glyphs, proto_net on glyphs)" in text
    assert list(Path().iterdir()) == []


def test_times_come_from_runs_of_the_same_job_or_of_the_same_kind() -> None:
    composer = Composer()
    keep(record_of(composer.settings(["algorithm=maml", "train.steps=100"]), 40.0), "same")
    keep(record_of(composer.settings(["algorithm=maml", "train.steps=50", "seed=9"]), 30.0), "similar")
    keep(record_of(composer.settings(["algorithm=anil"]), 7.0), "other")
    lines = planned("sweep.n_jobs=2").splitlines()
    assert next(line for line in lines if "seed=0 algorithm=maml" in line).endswith("to run, about 40 s")
    # 100 updates at the middle of the two rates, 0.4 and 0.6 s an update
    assert next(line for line in lines if "seed=1 algorithm=maml" in line).endswith("to run, about 50 s")
    assert "about 90 s of computing, 45 s with 2 at once" in lines[-1]
    assert "1 finished run of the same job; 2 finished runs of maml on glyphs, by training tasks" in lines[-1]
    assert "the time of 2 is unknown" in lines[-1]


def test_a_plan_tells_what_is_done_and_what_goes_on() -> None:
    prepared = prepare(ASKED, None, "config")
    sweep = create(prepared.path, [], prepared.digest, prepared.jobs)
    done, half, failed, _ = [job for job in sweep.jobs() if job.number not in prepared.duplicates()]
    composer = Composer()
    record = record_of(composer.settings(done.overrides), 40.0)
    write_record(record, sweep.folder(done))
    half_record = record_of(composer.settings(half.overrides), 1.0)
    write_record(replace(half_record, status="interrupted", steps=25), sweep.folder(half))
    write_note(sweep.folder(half), replace(begun(sweep.folder(half)), status="interrupted", exit_code=143))
    write_note(
        sweep.folder(failed), replace(begun(sweep.folder(failed)), status="failed", exit_code=5, error="NotFinite: x")
    )
    keep(half_record, "whole")  # the same job, elsewhere, took a second
    text = planned()
    assert "1 of 4 jobs completed, 1 failed, 1 interrupted, 1 not begun, 2 the same as others and not run" in text
    assert "done: no test, 40 s" in text
    assert "to resume (interrupted after 25 meta-updates), about 1 s" in text
    assert "kept: FAILED, NotFinite: x" in text
    assert "2 jobs to run" in text
    assert "3 jobs to run" in planned("sweep.on_error=retry")
