"""Whole runs of a tiny family: what they leave behind, and how they end."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from metaexp.core.disk import files
from metaexp.core.errors import MachineError, NotFiniteError, RunFolderError
from metaexp.core.json_lines import read_lines
from metaexp.machine.signals import Interrupted
from metaexp.results.episodes import read_episodes
from metaexp.results.record import RunRecord, read_record
from metaexp.run.checkpoint import Checkpoints, read
from metaexp.run.initial.command import Provenance
from metaexp.run.job import run_job
from metaexp.run.progress import Lines
from metaexp.run.step import not_finite


@pytest.fixture
def finished(tiny: ModuleType, tmp_path: Path, silent: Lines) -> tuple[RunRecord, Path]:
    provenance = Provenance(overrides=["seed=0"], full_steps=24, files={".hydra/overrides.yaml": "- seed=0\n"})
    return run_job(tiny.settings(tmp_path), provenance, display=silent)


def test_a_run_leaves_everything_needed_in_its_folder(finished: tuple[RunRecord, Path]) -> None:
    _, folder = finished
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    expected = {
        "config.yaml", "choices.yaml", "metrics.jsonl", "timings.jsonl", "record.json", "run.log", "test_episodes.csv",
        "checkpoints/best.json", "checkpoints/best.safetensors", ".hydra/overrides.yaml",
    }  # fmt: skip
    assert expected <= names


def test_the_record_says_what_was_done_and_what_came_out(finished: tuple[RunRecord, Path]) -> None:
    record, folder = finished
    assert read_record(folder) == record
    assert record.status == "completed"
    assert record.steps == 12
    assert record.full_steps == 24
    assert record.overrides == ["seed=0"]
    assert record.n_parameters == 8 + 8 + 8 + 8 + 8 + 1
    assert record.batch_norm == "running"
    assert record.first_order is False
    assert record.training_tasks == "episodes"
    assert record.test is not None
    assert record.test.metric == "mse"
    assert record.test.n_episodes == 10
    assert [score.n_episodes for score in record.after_steps] == [10, 10]
    assert record.after_steps[-1] == record.test
    assert record.device is not None
    assert record.device.threads == 1
    assert record.seconds is not None
    assert record.seconds > 0
    assert record.exact_resume is True


def test_the_test_score_is_that_of_the_episodes_kept(finished: tuple[RunRecord, Path]) -> None:
    record, folder = finished
    after = read_episodes(folder / "test_episodes.csv")
    assert len(after) == 2
    values = torch.tensor(after[-1], dtype=torch.float64)
    assert record.test is not None
    assert record.test.mean == pytest.approx(values.mean().item(), abs=1e-15)
    assert record.test.ci95 == pytest.approx(1.96 * values.std(correction=0).item() / math.sqrt(10), abs=1e-15)


def test_metrics_come_when_they_are_due_and_hold_no_clock(finished: tuple[RunRecord, Path]) -> None:
    lines = list(read_lines(finished[1] / "metrics.jsonl"))
    assert [step for step, values in lines if "train/loss" in values] == [3, 6, 9, 12]
    assert [step for step, values in lines if "val/mse" in values] == [4, 8, 12]
    assert [step for step, values in lines if "test/mse" in values] == [12]
    assert not any("time" in key or "second" in key for _, values in lines for key in values)


def test_the_weights_of_the_best_validation_are_tested(finished: tuple[RunRecord, Path]) -> None:
    record, folder = finished
    scores = {step: v["val/mse"] for step, v in read_lines(folder / "metrics.jsonl") if "val/mse" in v}
    best = min(scores, key=lambda step: (scores[step], step))
    assert record.selected_step == best
    assert record.val is not None
    assert record.val.mean == scores[best] < max(scores.values())
    weights, values = read(folder / "checkpoints" / "best")
    assert values["step"] == best
    assert best != 12, "the last weights must differ from the best for this test to tell"
    last = Checkpoints(folder / "checkpoints").load()
    assert last is not None
    assert not torch.equal(weights["model.head.weight"], last.tensors["weights/model.head.weight"])


def test_a_run_that_is_not_to_be_tested_is_the_same_run_without_a_look_at_the_test_split(
    tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = run_job(tiny.settings(tmp_path), display=silent)
    looks: list[str] = []
    episodes = tiny.LineTasks.episodes

    def watched(source: Any, split: str, indices: torch.Tensor) -> Any:
        looks.append(split)
        return episodes(source, split, indices)

    monkeypatch.setattr(tiny.LineTasks, "episodes", watched)
    untested = run_job(tiny.settings(tmp_path, eval__test=False), display=silent)
    assert set(looks) == {"train", "val"}
    assert untested.record.status == "completed"
    assert untested.record.test is None
    assert untested.record.after_steps == []
    assert untested.record.val == tested.record.val
    assert untested.record.config_hash == tested.record.config_hash
    assert not (untested.folder / "test_episodes.csv").exists()
    lines = (tested.folder / "metrics.jsonl").read_text().splitlines()
    assert "test/mse" in lines[-1]
    assert (untested.folder / "metrics.jsonl").read_text().splitlines() == lines[:-1]
    run_job(tiny.settings(tmp_path, eval__test=True), display=silent)
    assert set(looks) == {"train", "val", "test"}, "a tested run would have been seen to look"


def test_two_equal_runs_have_equal_bytes_and_another_seed_has_others(
    tiny: ModuleType, tmp_path: Path, silent: Lines
) -> None:
    def run(seed: int) -> tuple[bytes, bytes]:
        folder = run_job(tiny.settings(tmp_path, seed=seed), display=silent).folder
        return (folder / "metrics.jsonl").read_bytes(), (folder / "checkpoints" / "best.safetensors").read_bytes()

    first, second, other = run(0), run(0), run(1)
    assert first == second
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_how_often_it_logs_and_saves_changes_no_number(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    def run(**changes: int) -> RunRecord:
        return run_job(tiny.settings(tmp_path, **changes), display=silent).record

    usual = run()
    assert run(train__log_every=1, train__checkpoint_every=1).test == usual.test
    assert run(train__eval_every=3).test != usual.test  # other candidates for the best weights


def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_and_tasks(
    tiny: ModuleType, tmp_path: Path, silent: Lines
) -> None:
    poisoned = {"_target_": "tiny_runs.Lines", "poison": 22}  # the second task of the eighth update
    with pytest.raises(
        NotFiniteError,
        match=r"task 22 is not finite in step 8 of 12 .* Lower optimizer\.lr=0\.01 or algorithm\.inner_lr=0\.1,",
    ) as caught:
        run_job(tiny.settings(tmp_path, dataset=poisoned), folder=tmp_path / "run", display=silent)
    assert "after 5 steps is kept" in str(caught.value)
    record = read_record(tmp_path / "run")
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.startswith("NotFiniteError: the loss of training task 22")
    assert "Traceback" in (tmp_path / "run" / "run.log").read_text()
    kept = Checkpoints(tmp_path / "run" / "checkpoints").load()
    assert kept is not None
    assert kept.step == 5
    assert all(t.isfinite().all() for t in kept.tensors.values())


def test_a_run_on_a_few_tasks_names_the_one_that_it_trains_on(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    nan = float("nan")
    few, all_new = (tiny.settings(tmp_path, train__n_tasks=n) for n in (4, None))
    assert "the loss of training task 2 is" in str(not_finite(few, 12, 3, [1.0, nan, 1.0], []))
    assert "the loss of training task 10 is" in str(not_finite(all_new, 12, 3, [1.0, nan, 1.0], []))
    assert "the gradient over training tasks 9 to 11 is" in str(not_finite(all_new, 12, 3, [1.0, 1.0, 1.0], []))
    assert "the gradient over training task 3 is" in str(not_finite(all_new, 12, 3, [1.0], []))
    settings = tiny.settings(
        tmp_path, algorithm={"_target_": "tiny_runs.BadGradient", "inner_lr": 0.1}, train__n_tasks=2
    )
    with pytest.raises(NotFiniteError, match=r"the gradient over training tasks 0 to 1 is not finite in step 1 "):
        run_job(settings, display=silent)


@pytest.mark.parametrize("unread", [1, 256], ids=["read at once", "read when due"])
def test_the_step_is_exact_even_when_losses_are_read_later(
    tiny: ModuleType, tmp_path: Path, silent: Lines, unread: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaexp.run.train._UNREAD_STEPS", unread)
    monkeypatch.setattr("metaexp.run.train._reads_at_once", lambda compute: False)
    settings = tiny.settings(tmp_path, dataset={"_target_": "tiny_runs.Lines", "poison": 19})
    with pytest.raises(NotFiniteError, match=r"training task 19 is not finite in step 7 of 12"):
        run_job(settings, folder=tmp_path / "run", display=silent)
    assert read_record(tmp_path / "run").steps == 7


def test_a_gradient_that_is_not_finite_stops_the_run_too(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    settings = tiny.settings(tmp_path, algorithm={"_target_": "tiny_runs.BadGradient", "inner_lr": 0.1})
    with pytest.raises(NotFiniteError, match=r"the gradient over training tasks 0 to 2 is not finite in step 1 "):
        run_job(settings, display=silent)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_finishes_its_step_and_saves_at_a_signal(
    tiny: ModuleType, tmp_path: Path, acting_at: Callable[..., Lines], number: signal.Signals, code: int
) -> None:
    before = signal.getsignal(number)
    display = acting_at("train", 7, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted, match=f"stopped by {number.name} after 7 of 12 .* saved.* resume=") as caught:
        run_job(tiny.settings(tmp_path), folder=tmp_path / "run", display=display)
    assert caught.value.exit_code == code
    record = read_record(tmp_path / "run")
    assert (record.status, record.steps, record.error) == ("interrupted", 7, None)
    saved = Checkpoints(tmp_path / "run" / "checkpoints").load()
    assert saved is not None
    assert saved.step == 7
    assert signal.getsignal(number) is before


def test_a_second_sigint_stops_at_once(tiny: ModuleType, tmp_path: Path, acting_at: Callable[..., Lines]) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match=r"SIGINT after 7 of 12 steps; the steps .* lost\..* resume=") as caught:
        run_job(tiny.settings(tmp_path), folder=tmp_path / "run", display=acting_at("train", 7, twice))
    assert caught.value.exit_code == 130
    assert read_record(tmp_path / "run").status == "interrupted"
    saved = Checkpoints(tmp_path / "run" / "checkpoints").load()
    assert saved is not None
    assert saved.step == 5


def test_a_signal_during_the_final_test_loses_nothing(
    tiny: ModuleType, tmp_path: Path, acting_at: Callable[..., Lines]
) -> None:
    display = acting_at("test", 10, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match="after 12 of 12 steps, and saved"):
        run_job(tiny.settings(tmp_path), folder=tmp_path / "run", display=display)
    assert read_record(tmp_path / "run").status == "interrupted"


def test_a_full_disk_says_what_to_do_and_keeps_the_last_checkpoint(
    tiny: ModuleType, tmp_path: Path, acting_at: Callable[..., Lines], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill() -> None:
        monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))

    with pytest.raises(MachineError, match=r"the disk is full.*resume=.*paths\.outputs") as caught:
        run_job(tiny.settings(tmp_path), folder=tmp_path / "run", display=acting_at("train", 6, fill))
    assert caught.value.exit_code == 6
    saved = Checkpoints(tmp_path / "run" / "checkpoints").load()
    assert saved is not None
    assert saved.step == 5


def test_out_of_memory_advises_smaller_chunks(
    tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nmore lines")

    monkeypatch.setattr("metaexp.run.step.MetaStep.compute_mean", too_much)
    with pytest.raises(MachineError, match=r"out of memory: CUDA out of memory.*device\.task_chunk"):
        run_job(tiny.settings(tmp_path), folder=tmp_path / "run", display=silent)
    record = read_record(tmp_path / "run")
    assert record.status == "failed"
    assert record.error is not None
    assert "device.task_chunk" in record.error


def test_no_steps_test_the_weights_as_they_are(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    record, folder = run_job(tiny.settings(tmp_path, train__steps=0), display=silent)
    assert (record.status, record.steps, record.selected_step) == ("completed", 0, 0)
    _, first = next(read_lines(folder / "metrics.jsonl"))
    assert sorted(first) == ["val/ci95", "val/mse"]


def test_an_algorithm_without_parameters_is_tested_without_training(
    tiny: ModuleType, tmp_path: Path, silent: Lines
) -> None:
    settings = tiny.settings(tmp_path, algorithm={"_target_": "tiny_runs.SupportMean"})
    record, folder = run_job(settings, display=silent)
    assert (record.status, record.steps, record.n_parameters) == ("completed", 0, 0)
    assert record.after_steps == []
    assert "has no parameters" in (folder / "run.log").read_text()


def test_nothing_is_written_when_the_objects_cannot_be_made(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    settings = tiny.settings(tmp_path / "outputs", dataset={"_target_": "tiny_runs.Missing"})
    with pytest.raises(Exception, match="nowhere to be found"):
        run_job(settings, display=silent)
    assert not (tmp_path / "outputs").exists()


def test_a_new_run_never_starts_in_the_folder_of_another(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    settings = tiny.settings(tmp_path)
    folder = run_job(settings, display=silent).folder
    before = (folder / "record.json").read_bytes()
    with pytest.raises(RunFolderError, match="holds a completed run already") as refused:
        run_job(settings, folder=folder, display=silent)
    assert "resume=" not in str(refused.value)  # there is nothing to continue
    assert (folder / "record.json").read_bytes() == before


@pytest.mark.parametrize("status", ["interrupted", "failed", "running", "damaged"])
def test_a_run_in_the_way_of_a_new_one_can_be_continued_if_it_is_not_complete(
    tiny: ModuleType, tmp_path: Path, silent: Lines, status: str
) -> None:
    settings = tiny.settings(tmp_path)
    folder = run_job(settings, display=silent, stop_after=1).folder
    record = folder / "record.json"
    record.write_text("{" if status == "damaged" else record.read_text().replace('"interrupted"', f'"{status}"'))
    with pytest.raises(RunFolderError, match=f"holds a run already.*another folder.*resume={folder}"):
        run_job(settings, folder=folder, display=silent)


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl"])
def test_files_that_are_not_runs_are_not_overwritten(
    tiny: ModuleType, tmp_path: Path, silent: Lines, name: str
) -> None:
    mine = tmp_path / "mine" / name
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(RunFolderError, match=f"holds a {name} that is not a run's"):
        run_job(tiny.settings(tmp_path), folder=mine.parent, display=silent)
    assert mine.read_text() == "mine"
    (mine.parent / "choices.yaml").write_text("{}")  # what a run leaves that was killed early
    assert run_job(tiny.settings(tmp_path), folder=mine.parent, display=silent).record.status == "completed"


def test_the_record_of_a_run_that_is_going_on_says_so(
    tiny: ModuleType, tmp_path: Path, acting_at: Callable[..., Lines]
) -> None:
    seen: list[dict[str, Any]] = []
    path = tmp_path / "run" / "record.json"
    run_job(
        tiny.settings(tmp_path),
        folder=tmp_path / "run",
        display=acting_at("train", 3, lambda: seen.append(json.loads(path.read_text()))),
    )
    assert [(record["status"], record["test"]) for record in seen] == [("running", None)]


def test_a_verdict_is_given_where_there_is_a_published_number(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    reference = {"paper": "P", "table": "1", "metric": "mse", "value": 0.5, "ci95": None, "protocol": "tiny"}
    settings = tiny.settings(tmp_path, reference=reference)
    assert run_job(settings, Provenance(full_steps=24), display=silent).record.verdict.kind == "shortened"  # type: ignore[union-attr]
    assert run_job(tiny.settings(tmp_path), display=silent).record.verdict is None


def test_the_seal_holds_until_training_has_ended(
    tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = tiny.LineTasks.episodes

    def watched(self: Any, split: str, indices: torch.Tensor) -> Any:
        asked.append(split)
        return real(self, split, indices)

    monkeypatch.setattr(tiny.LineTasks, "episodes", watched)
    run_job(tiny.settings(tmp_path), display=silent)
    first_test = asked.index("test")
    assert set(asked[:first_test]) == {"train", "val"}
    assert set(asked[first_test:]) == {"test"}
