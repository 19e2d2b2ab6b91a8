"""Where the time of a finished run went, and how long another one therefore takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from folders_of_runs import a_job, a_record, config

from metaexp.results.beginning import ParentRun
from metaexp.results.job_state import JobState
from metaexp.results.record import RunRecord, write_record
from metaexp.sweep.estimate import estimate
from metaexp.sweep.run_costs import costs_of
from metaexp.sweep.time_left import TimeLeft

TRAIN = {"meta_batch_size": 4, "eval_every": 50, "eval_episodes": 20, "log_every": 10}
SHAPE = {"n_way": 5, "k_shot": 1, "n_query": 15}


def settings(steps: int, **train: int) -> dict[str, Any]:
    """Settings of a run that is tested on 100 episodes."""
    made = config(eval={"episodes": 100, "test": True})
    return made | {"train": TRAIN | SHAPE | {"steps": steps} | train}


def a_run(
    folder: Path, steps: int, times: Mapping[int, tuple[float, float]], seconds: float, **train: int
) -> RunRecord:
    """Write a finished run. Step -> all seconds until then, and those of training."""
    record = a_record(steps=steps, seconds=seconds, config=settings(steps, **train))
    folder.mkdir()
    write_record(record, folder)
    lines = [{"step": at, "time/seconds": a, "time/training_seconds": b} for at, (a, b) in times.items()]
    (folder / "timings.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return record


def test_training_validation_and_test_are_told_apart(tmp_path: Path) -> None:
    # 3 s before the first step, 2 s more for the first steps, 0.4 s a step, 2 s for each of 2 validations, 10 s for the
    # test and 1 s for figures
    times = {10: (9.0, 6.0), 100: (49.0, 42.0)}
    costs = costs_of(tmp_path / "run", a_run(tmp_path / "run", 100, times, 60.0))
    assert costs is not None
    assert costs == pytest.approx((3 + 2 + 1, 0.1, 0.1))
    assert costs.seconds(settings(100)) == pytest.approx(60)
    assert costs.seconds(settings(1000)) == pytest.approx(6 + 400 + 20 * 2 + 10)
    assert costs.seconds(settings(1000), done=900) == pytest.approx(6 + 40 + 2 * 2 + 10)
    untested = settings(100) | {"eval": {"episodes": 100, "test": False}}
    assert costs.seconds(untested) == pytest.approx(50)


@pytest.mark.parametrize("episodes", [20, 2])
def test_a_short_run_does_not_inflate_the_estimate_of_a_long_one(tmp_path: Path, episodes: int) -> None:
    record = a_run(tmp_path / "run", 4, {4: (3.0, 2.0)}, 13.0, eval_episodes=episodes)
    lines = [{"step": 4, "time/seconds": a, "time/training_seconds": 2.0} for a in (3.0, 5.0)]
    (tmp_path / "run/timings.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    job = a_job(1)
    job.config.update(settings(50))
    found = estimate(job, JobState("waiting", Path("log")), {tmp_path / "run": record})
    # 1 s before, 0.5 s a step, and 120 episodes: of 2 s for 20, or of 8 s for 100, whichever is less for each
    of_episodes = min(2 / episodes, 0.08)
    assert found is not None
    assert found.seconds == pytest.approx(1 + 8 - 100 * of_episodes + 25 + 120 * of_episodes)
    (tmp_path / "run/timings.jsonl").unlink()
    without = estimate(job, JobState("waiting", Path("log")), {tmp_path / "run": record})
    assert without is not None
    assert without.seconds == pytest.approx(13 / 4 * 50)


def test_runs_with_far_fewer_steps_than_others_do_not_count(tmp_path: Path) -> None:
    runs = {
        tmp_path / "short": a_run(tmp_path / "short", 4, {4: (30.0, 20.0)}, 40.0),
        tmp_path / "long": a_run(tmp_path / "long", 100, {10: (9.0, 6.0), 100: (49.0, 42.0)}, 60.0),
    }
    job = a_job(1)
    job.config.update(settings(1000))
    found = estimate(job, JobState("waiting", Path("log")), runs)
    assert found is not None
    assert found.source == "1 finished run of maml on glyphs, by training tasks and episodes"
    assert found.seconds == pytest.approx(456)
    del runs[tmp_path / "long"]
    only = estimate(job, JobState("waiting", Path("log")), runs)
    assert only is not None
    assert only.seconds > 5000


def test_a_job_that_is_nearly_done_still_has_its_test(tmp_path: Path) -> None:
    times = {10: (9.0, 6.0), 100: (49.0, 42.0)}
    runs = {tmp_path / "run": a_run(tmp_path / "run", 100, times, 60.0)}
    state = JobState("interrupted", Path("log"), record=a_record("interrupted", steps=90))
    same = a_job(1)
    same.config.update(settings(100))
    (record,) = runs.values()
    found = estimate(replace(same, config_hash=record.config_hash), state, runs)
    assert found is not None
    assert found == (pytest.approx(6 + 4 + 2 + 10), "1 finished run of the same job")


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{",
        '{"step": 100, "time/seconds": 5.0}\n',
        '{"step": 90, "time/seconds": 9.0, "time/training_seconds": 6.0}\n',
        '{"step": 100, "time/seconds": 9.0, "time/training_seconds": "nan"}\n',
    ],
)
def test_a_run_without_its_times_tells_nothing(tmp_path: Path, content: str | None) -> None:
    record = a_run(tmp_path / "run", 100, {100: (49.0, 42.0)}, 60.0)
    assert costs_of(tmp_path / "run", record) is not None
    (tmp_path / "run/timings.jsonl").unlink()
    if content is not None:
        (tmp_path / "run/timings.jsonl").write_text(content)
    assert costs_of(tmp_path / "run", record) is None


def test_a_run_that_continued_another_one_tells_nothing(tmp_path: Path) -> None:
    record = a_run(tmp_path / "run", 100, {100: (49.0, 42.0)}, 60.0)
    parent = ParentRun("first", "c" * 64, "d" * 64, 50, 50, "e" * 64)
    assert costs_of(tmp_path / "run", replace(record, parent=parent)) is None


def test_a_run_without_training_has_episodes_alone(tmp_path: Path) -> None:
    costs = costs_of(tmp_path / "run", a_run(tmp_path / "run", 0, {0: (2.0, 0.0)}, 13.0))
    assert costs == pytest.approx((1.0, 0.0, 0.1))


def test_the_rest_of_a_sweep_is_estimated_by_episodes_too(tmp_path: Path) -> None:
    jobs = [a_job(number) for number in range(2)]
    jobs[0].config.update(settings(100))
    jobs[1].config.update(settings(1000))
    costs = costs_of(tmp_path / "run", a_run(tmp_path / "run", 100, {10: (9.0, 6.0), 100: (49.0, 42.0)}, 60.0))
    left, by_steps = TimeLeft(jobs), TimeLeft(jobs)
    left.ended(jobs[0], 60.0, costs)
    by_steps.ended(jobs[0], 60.0)
    assert left.seconds({1: None}) == pytest.approx(456)
    assert by_steps.seconds({1: None}) == pytest.approx(600)
