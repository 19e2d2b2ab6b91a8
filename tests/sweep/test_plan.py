"""A plan says what would be done and how long it takes, and writes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from metaexp.cli.plan import main
from metaexp.config.compose import Composer
from metaexp.config.identity import config_hash
from metaexp.config.schema import Settings
from metaexp.results.job_note import write_note
from metaexp.results.job_state import JobState, new_note
from metaexp.results.record import RunRecord, Task, write_record
from metaexp.run import throughput
from metaexp.run.progress import Advance, Lines, Silent
from metaexp.run.throughput import Throughput
from metaexp.sweep.folder import create
from metaexp.sweep.plan import format_plan
from metaexp.sweep.prepare import prepare
from metaexp.sweep.summary import format_table

FILES = ("config", "hydra", "overrides")
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
    return format_plan(prepare(overrides, None, "config"), overrides)


def test_a_plan_shows_duplicates_and_unknown_times_and_writes_nothing() -> None:
    text = planned()
    assert "6 jobs in outputs/sweeps/seed-algorithm-" in text
    assert ": not there yet" in text
    assert "the same as job 0" in text
    assert "4 jobs to run. The time of 4 is unknown, because outputs has no finished run like them" in text
    assert "(maml on glyphs, proto_net on glyphs)" in text
    assert list(Path().iterdir()) == []


def test_times_come_from_runs_of_the_same_job_or_of_the_same_kind() -> None:
    composer = Composer()
    keep(record_of(composer.settings(["algorithm=maml", "train.steps=100"]), 40.0), "same")
    keep(record_of(composer.settings(["algorithm=maml", "train.steps=50", "seed=9"]), 30.0), "similar")
    keep(record_of(composer.settings(["algorithm=anil"]), 7.0), "other")
    lines = planned("sweep.n_jobs=2").splitlines()
    assert next(line for line in lines if "seed=0 algorithm=maml" in line).endswith("to run, about 40 s")
    # 100 steps at the median of the two rates, 0.4 and 0.6 s a step
    assert next(line for line in lines if "seed=1 algorithm=maml" in line).endswith("to run, about 50 s")
    assert "about 90 s of computing for 2 of them, 45 s with 2 at once. The time is estimated from 1 " in lines[-1]
    assert (
        "1 finished run of the same job; 2 finished runs of maml on glyphs, by training tasks and episodes" in lines[-1]
    )
    assert "The time of 2 is unknown" in lines[-1]


@pytest.mark.parametrize(("model", "is_like"), [("none", True), ("another", False)])
def test_a_run_without_a_network_is_like_a_job_for_which_any_is_chosen(model: str, is_like: bool) -> None:
    settings = Composer().settings(["algorithm=maml", "train.steps=50", "seed=9"])
    keep(replace(record_of(settings, 30.0), model=model), "similar")
    assert ("seed=0 algorithm=maml       to run, about" in planned()) is is_like


def test_one_job_is_spoken_of_in_the_singular() -> None:
    overrides = ["seed=0,0", "algorithm=maml"]
    text = format_plan(prepare(overrides, None, "config"), overrides)
    assert "\n1 job repeats another job and will not run\n" in text
    assert "no finished run like it (maml on glyphs)" in text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train", None),
        ("train", {"steps": 100}),
        ("eval", {}),
        ("train.eval_every", 0),
        ("train.log_every", None),
        ("train.meta_batch_size", "many"),
    ],
)
def test_a_record_without_the_settings_of_a_run_tells_no_time(key: str, value: object) -> None:
    record = record_of(Composer().settings(["seed=5", "algorithm=maml", "train.steps=100"]), 600.0)
    keep(record, "run")
    assert "The time of 2 is unknown" in planned()
    section, _, name = key.partition(".")
    changed = {**record.config[section], name: value} if name else value
    write_record(replace(record, config=record.config | {section: changed}), Path("outputs", "run"))
    assert "The time of 4 is unknown" in planned()


def test_times_of_one_plan_and_of_one_table_are_in_one_unit() -> None:
    composer = Composer()
    keep(record_of(composer.settings(["algorithm=maml", "train.steps=100"]), 40.0), "short")
    keep(record_of(composer.settings(["algorithm=maml", "train.steps=100", "seed=1"]), 1160.0), "long")
    text = planned("sweep.n_jobs=2")
    assert re.findall(r"to run, about (.*)", text)[:2] == ["0.67 min", "19 min"]
    assert "about 20 min of computing for 2 of them, 10 min with 2 at once." in text
    prepared = prepare(ASKED, None, "config")
    jobs = prepared.jobs[:3]
    states = {job.number: JobState("waiting", Path("log")) for job in jobs}
    for job, seconds in zip(jobs[:2], (40.0, 1160.0), strict=True):
        states[job.number] = JobState("completed", Path("log"), record=record_of(composer.settings([]), seconds))
    assert re.findall(r"no result, (.*)", format_table("sweep", jobs, states, {})) == ["0.67 min", "19 min"]


def test_a_plan_shows_what_is_done_and_what_is_resumed() -> None:
    prepared = prepare(ASKED, None, "config")
    sweep = create(prepared.path, [], prepared.digest, prepared.jobs)
    done, half, failed, _ = [job for job in sweep.jobs() if job.number not in prepared.duplicates()]
    composer = Composer()
    record = record_of(composer.settings(done.overrides), 40.0)
    write_record(record, sweep.folder(done))
    half_record = record_of(composer.settings(half.overrides), 1.0)
    write_record(replace(half_record, status="interrupted", steps=25), sweep.folder(half))
    write_note(sweep.folder(half), replace(new_note(sweep.folder(half)), status="interrupted", exit_code=143))
    write_note(
        sweep.folder(failed),
        replace(new_note(sweep.folder(failed)), status="failed", exit_code=5, error="NotFinite: x"),
    )
    keep(half_record, "whole")  # the same job, elsewhere, took a second
    text = planned()
    assert "1 of 4 jobs completed, 1 failed, 1 interrupted, 1 not started, 2 the same as others and not run" in text
    assert "done: no result, 40 s" in text
    assert "to resume (interrupted after 25 steps), about 1 s" in text
    assert "kept: FAILED, NotFinite: x" in text
    assert "2 jobs to run" in text
    assert "3 jobs to run" in planned("sweep.on_error=retry")


def test_times_that_no_run_gives_are_measured_once_for_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[Settings] = []

    def measure(settings: Settings, say: object) -> Throughput:
        timed.append(settings)
        return Throughput(step=0.8, episode=0.25)

    monkeypatch.setattr(throughput, "measure", measure)
    messages: list[str] = []
    overrides = ["algorithm=proto_net,relation_net", "seed=0,1", "optimizer.lr=0.1,0.2", "train.steps=100"]
    overrides += ["train.eval_every=50", "train.eval_episodes=8", "eval.episodes=16"]
    text = format_plan(prepare(overrides, None, "config"), overrides, messages.append)
    assert [settings.choices["algorithm"] for settings in timed] == ["proto_net", "relation_net"]
    assert messages == ["measuring proto_net on glyphs (1 of 2)", "measuring relation_net on glyphs (2 of 2)"]
    # 100 steps of 0.8 s, and 2 validations of 8 episodes and 16 test episodes of 0.25 s
    assert text.count("to run, about 88 s") == 8
    assert "estimated from steps and episodes of proto_net on glyphs, measured here; steps and episodes of" in text
    assert "unknown" not in text


def test_a_finished_run_is_believed_before_a_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "measure", lambda settings, say: Throughput(settings.task.k_shot, 0.0))
    keep(record_of(Composer().settings(["algorithm=maml", "train.steps=10"]), 40.0), "same")
    overrides = ["algorithm=maml", "train.steps=10", "task.k_shot=1,2,3"]
    finished, two, three, _ = format_plan(prepare(overrides, None, "config"), overrides, print).splitlines()[1:]
    assert [finished[-4:], two[-4:], three[-4:]] == ["40 s", "20 s", "30 s"]


@pytest.mark.parametrize("steps", ["40", "0"])
def test_measuring_computes_but_writes_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, steps: str
) -> None:
    monkeypatch.setattr(throughput, "_SECONDS", 0.05)
    small = ["algorithm=proto_net", "dataset=glyphs", f"train.steps={steps}", "device=cpu", "eval.episodes=100"]
    assert main([*small, "seed=0,1", "--measure"]) == 0
    output = capsys.readouterr()
    assert "measuring proto_net on glyphs (1 of 1)" in output.err
    assert "steps and episodes of proto_net on glyphs, measured here" in output.out
    assert list(Path().iterdir()) == []
    assert main([*small, "seed=0,1"]) == 0
    assert "The time of 2 is unknown" in (out := capsys.readouterr().out)
    assert "--measure measures it" in out


class Seen(Silent):
    """Remembers what was counted."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, int, int]] = []

    @contextmanager
    def show_progress(self, what: str, total: int, done: int = 0) -> Iterator[Advance]:
        yield lambda done: self.counted.append((what, done, total))


def test_the_check_of_many_jobs_is_counted_and_that_of_few_is_not() -> None:
    many, few = Seen(), Seen()
    prepare(["seed=range(0,30)", "algorithm=maml,proto_net"], None, "config", many)
    assert many.counted == [("jobs checked", number, 60) for number in range(1, 61)]
    prepare(ASKED, None, "config", few)
    assert few.counted == []


def test_a_plan_of_many_jobs_counts_them_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaexp.run.progress.default_display", lambda: Lines(Console(stderr=True), every=0.0))
    assert main(["seed=range(0,50)"]) == 0
    output = capsys.readouterr()
    assert "jobs checked 50/50" in output.err
    assert "jobs checked" not in output.out
    assert "50 jobs to run" in output.out


def test_jobs_of_a_plan_are_those_of_the_sweep_without_the_files_that_only_runs_need() -> None:
    started = prepare(ASKED, None, "config")
    listed = prepare(ASKED, None, "config", keeps_files=False)
    assert [job.files for job in listed.jobs] == [{}] * 6
    assert all(set(job.files) == {f".hydra/{name}.yaml" for name in FILES} for job in started.jobs)
    assert [replace(job, files={}) for job in started.jobs] == listed.jobs
