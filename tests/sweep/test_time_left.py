"""How long the rest of a sweep takes, from what its jobs have shown so far."""

from __future__ import annotations

from dataclasses import replace

import pytest
from folders_of_runs import a_job, config

from metaexp.results.progress_file import Progress
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.time_left import TimeLeft, format_running

TRAINED = Progress("train", 150, 600, 150, 600, 5.0, 0.0, 30.0)


def job(number: int, steps: int = 600, inner_lr: float = 0.4, algorithm: str = "maml") -> FrozenJob:
    made = config(seed=number, train__steps=steps, algorithm__inner_lr=inner_lr)
    made["algorithm"]["_target_"] = algorithm
    return replace(a_job(number), config=made)


def test_nothing_is_known_before_a_job_has_made_steps() -> None:
    left = TimeLeft([job(0), job(1)])
    assert left.seconds({0: None}) is None
    assert left.seconds({0: replace(TRAINED, step=0, done=0, steps_per_second=0.0)}) is None


def test_a_waiting_job_takes_as_long_as_one_of_its_kind() -> None:
    left = TimeLeft([job(0), job(1, inner_lr=0.1), job(2, steps=300)])
    # job 0: 90 s left of 120 s; job 1: 120 s; job 2: half of it
    assert left.seconds({0: TRAINED}) == pytest.approx(90 + 120 + 60)
    left.ended(job(0), 200.0)
    assert left.seconds({1: None}) == pytest.approx(200 + 100)
    left.ended(job(1), None)
    left.ended(job(2), 10.0)
    assert left.seconds({}) == 0


def test_jobs_at_once_share_the_time_but_the_longest_one_counts() -> None:
    left = TimeLeft([job(0), job(1)])
    assert left.seconds({0: TRAINED, 1: replace(TRAINED, step=599)}) == pytest.approx(90)
    left = TimeLeft([job(n) for n in range(4)])
    assert left.seconds({0: TRAINED, 1: TRAINED}) == pytest.approx((90 + 90 + 120 + 120) / 2)


def test_a_job_of_another_kind_takes_the_average() -> None:
    left = TimeLeft([job(0), job(1, algorithm="proto_net"), job(2, algorithm="other")])
    left.ended(job(0), 600.0)
    left.ended(job(1, algorithm="proto_net"), 60.0)
    assert left.seconds({2: None}) == pytest.approx(330)


def test_the_test_counts_once_an_episode_has_been_timed() -> None:
    tested = replace(job(0), config=job(0).config | {"eval": {"episodes": 1000}})
    progress = replace(TRAINED, episodes_per_second=100.0)
    assert TimeLeft([tested]).seconds({0: progress}) == pytest.approx(90 + 10)
    without = replace(job(0), config=job(0).config | {"eval": {"episodes": 1000, "test": False}})
    assert TimeLeft([without]).seconds({0: progress}) == pytest.approx(90)
    at_test = replace(progress, phase="test", done=400, total=1000, step=600)
    assert TimeLeft([tested]).seconds({0: at_test}) == pytest.approx(6)


def test_running_jobs_are_named_with_their_phase() -> None:
    jobs = [job(n) for n in range(4)]
    validating = replace(TRAINED, phase="validate", done=50, total=200)
    assert format_running(jobs[:1], {0: TRAINED}) == "job 0 (seed=0): train 150/600"
    both = {0: TRAINED, 1: validating, 2: None, 3: None}
    assert format_running(jobs[:2], both) == "job 0: train 150/600, job 1: validate 50/200"
    assert format_running(jobs, both) == "job 0: train 150/600, job 1: validate 50/200, 2 more"
    assert format_running(jobs[2:3], both) == "job 2 (seed=2): starting"
