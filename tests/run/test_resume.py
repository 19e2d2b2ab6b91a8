"""A run that was stopped, killed or damaged continues as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from forking import run_program
from sampling import size

from metaexp.core.errors import RunFolderError
from metaexp.machine.signals import Interrupted
from metaexp.results.record import read_record
from metaexp.run.checkpoint import Checkpoints, read, write
from metaexp.run.job import resume_job, run_job
from metaexp.run.progress import Lines

KILLS = Path(__file__).resolve().parents[1] / "support" / "kills"


def result_of(folder: Path) -> dict[str, bytes]:
    """The files that must be equal, byte for byte."""
    names = ["metrics.jsonl", "test_episodes.csv", "best.safetensors", "step_000000012.safetensors"]
    names = [f"checkpoints/{name}" if name.endswith("safetensors") else name for name in names]
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[], Path]], dict[str, bytes]]:
    """Runs once what it is given, and remembers the result."""
    found: dict[str, bytes] = {}

    def once(run: Callable[[], Path]) -> dict[str, bytes]:
        if not found:
            found.update(result_of(run()))
        return found

    return once


@pytest.fixture
def expected(
    tiny: ModuleType, tmp_path: Path, silent: Lines, undisturbed: Callable[[Callable[[], Path]], dict[str, bytes]]
) -> dict[str, bytes]:
    """What an undisturbed run leaves."""
    return undisturbed(lambda: run_job(tiny.settings(tmp_path / "undisturbed"), display=silent).folder)


def test_a_stopped_run_continues_bit_for_bit(stopped: Path, expected: dict[str, bytes], silent: Lines) -> None:
    record, folder = resume_job(stopped, silent)
    assert folder == stopped
    assert (record.status, record.steps, record.exact_resume) == ("completed", 12, True)
    assert result_of(stopped) == expected


def test_another_seed_would_be_noticed(
    tiny: ModuleType, tmp_path: Path, silent: Lines, expected: dict[str, bytes]
) -> None:
    assert result_of(run_job(tiny.settings(tmp_path, seed=1), display=silent).folder) != expected


@pytest.mark.parametrize("step", [1, 4, 5, 11, 12])
def test_it_does_not_matter_when_it_was_stopped(
    tiny: ModuleType,
    tmp_path: Path,
    silent: Lines,
    expected: dict[str, bytes],
    step: int,
    stop_after: Callable[..., Lines],
) -> None:
    with pytest.raises(Interrupted):
        run_job(tiny.settings(tmp_path), folder=tmp_path / "run", display=stop_after(step))
    resume_job(tmp_path / "run", silent)
    assert result_of(tmp_path / "run") == expected


def test_it_can_be_stopped_again_and_again(
    tiny: ModuleType, tmp_path: Path, silent: Lines, expected: dict[str, bytes], stop_after: Callable[..., Lines]
) -> None:
    with pytest.raises(Interrupted):
        run_job(tiny.settings(tmp_path), folder=tmp_path / "run", display=stop_after(2))
    for step in (3, 7, 8):
        with pytest.raises(Interrupted):
            resume_job(tmp_path / "run", stop_after(step))
    record, _ = resume_job(tmp_path / "run", silent)
    assert result_of(tmp_path / "run") == expected
    assert record.started == read_record(tmp_path / "run").started


def without_tensors(prefix: str) -> Callable[[dict[str, torch.Tensor], dict[str, Any]], None]:
    def drop(tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        for name in [name for name in tensors if name.startswith(prefix)]:
            del tensors[name]

    return drop


def without_value(name: str, empty: Any) -> Callable[[dict[str, torch.Tensor], dict[str, Any]], None]:
    def drop(tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        assert values[name] != empty, "there must be something to drop"
        values[name] = empty

    return drop


def without_group_settings(tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
    values["optimizer"]["groups"][0]["count"] = 0


DROPS = {
    "a parameter": without_tensors("weights/model.head.weight"),
    "running statistics": without_tensors("weights/model.norm.running"),
    "all weights": without_tensors("weights/"),
    "first moments": without_tensors("optimizer/0/exp_avg"),
    "the optimiser's tensors": without_tensors("optimizer/"),
    "the optimiser's own counters": without_group_settings,
    "best weights": without_tensors("best/"),
    "best result": without_value("best", None),
    "step": without_value("step", 0),
    "losses since the last line": without_value("losses", []),
    "gradient norms since the last line": without_value("gradient_norms", []),
    "position in the metrics": without_value("metrics_position", 0),
}


@pytest.mark.parametrize("item", DROPS)
def test_every_item_of_a_checkpoint_is_needed(
    stopped: Path, expected: dict[str, bytes], silent: Lines, item: str
) -> None:
    newest = stopped / "checkpoints" / "step_000000007"
    tensors, values = read(newest)
    before = (dict(tensors), json.dumps(values))
    DROPS[item](tensors, values)
    assert (tensors.keys(), json.dumps(values)) != (before[0].keys(), before[1])
    write(newest, tensors, values)
    try:
        resume_job(stopped, silent)
    except Exception:
        return
    assert result_of(stopped) != expected


def test_a_damaged_checkpoint_is_ignored_for_the_one_before(
    stopped: Path, expected: dict[str, bytes], silent: Lines
) -> None:
    path = stopped / "checkpoints" / "step_000000007.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    resume_job(stopped, silent)
    assert result_of(stopped) == expected
    assert "step_000000007 is damaged" in (stopped / "run.log").read_text()


@pytest.mark.parametrize("removed", [".json .safetensors", ".json", ".safetensors"])
def test_who_removes_the_newest_checkpoint_goes_on_from_the_one_before_bit_for_bit(
    stopped: Path, expected: dict[str, bytes], silent: Lines, removed: str
) -> None:
    before = (stopped / "metrics.jsonl").read_bytes()
    for suffix in removed.split():
        (stopped / "checkpoints" / f"step_000000007{suffix}").unlink()
    older = json.loads(min(stopped.glob("checkpoints/step_*.json")).read_text())["values"]
    assert older["metrics_position"] < len(before)  # there are metrics beyond it, which are cut
    resume_job(stopped, silent)
    assert result_of(stopped) == expected


def test_metrics_before_an_older_checkpoint_that_were_changed_are_refused_as_well(stopped: Path, silent: Lines) -> None:
    for path in stopped.glob("checkpoints/step_000000007.*"):
        path.unlink()
    path = stopped / "metrics.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"train/loss": 0', b'"train/loss": 9', 1))
    before = path.read_bytes()
    assert before != whole
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl"):
        resume_job(stopped, silent)
    assert path.read_bytes() == before


def test_nothing_is_resumed_from_damaged_checkpoints_only(stopped: Path, silent: Lines) -> None:
    for path in stopped.glob("checkpoints/*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(RunFolderError, match=r"no checkpoint in .* can be used"):
        resume_job(stopped, silent)


def test_metrics_that_were_cut_are_refused(stopped: Path, silent: Lines) -> None:
    path = stopped / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(RunFolderError, match="lines are missing"):
        resume_job(stopped, silent)


def test_a_completed_run_is_left_as_it_is(stopped: Path, silent: Lines) -> None:
    resume_job(stopped, silent)
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file() and path.name != ".lock"}
    assert resume_job(stopped, silent).record.status == "completed"
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("what", ["configuration", "data"])
def test_a_run_whose_configuration_or_data_changed_is_refused(
    tiny: ModuleType,
    tmp_path: Path,
    silent: Lines,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    stop_after: Callable[..., Lines],
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        run_job(tiny.settings(tmp_path), folder=folder, display=stop_after(7))
    if what == "data":
        monkeypatch.setattr(tiny.LoadedLines, "content", "other lines")
    else:
        text = (folder / "config.yaml").read_text()
        assert "seed: 0\n" in text
        (folder / "config.yaml").write_text(text.replace("seed: 0\n", "seed: 5\n"))
    with pytest.raises(
        RunFolderError, match=f"the {what} of .* changed since (its checkpoint was saved|the run began)"
    ):
        resume_job(folder, silent)


def test_another_thread_count_continues_and_says_that_it_is_not_exact(
    tiny: ModuleType, tmp_path: Path, silent: Lines, stop_after: Callable[..., Lines]
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        run_job(tiny.settings(tmp_path), folder=folder, display=stop_after(7))
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("threads: 1", "threads: 2"))
    record, _ = resume_job(folder, silent)
    assert record.exact_resume is False
    assert record.device is not None
    assert record.device.threads == 2
    assert "not bit for bit: threads was 1 and is 2" in (folder / "run.log").read_text()


def test_seconds_of_all_sessions_are_added_up(stopped: Path, silent: Lines) -> None:
    path = stopped / "timings.jsonl"
    *rest, last = path.read_text().splitlines()
    later = json.loads(last) | {"time/seconds": 5000.0, "time/training_seconds": 4000.0}
    path.write_text("\n".join([*rest, json.dumps(later)]) + "\n")
    record, _ = resume_job(stopped, silent)
    assert record.seconds is not None
    assert 5000 < record.seconds < 5600
    assert record.episodes_per_second is not None
    assert record.episodes_per_second < 36 / 4000


@pytest.mark.parametrize(
    "times", [{"time/seconds": 1.0}, {"time/seconds": 2.0, "time/training_seconds": "inf"}, {"time/seconds": -1.0}]
)
def test_times_that_are_damaged_are_refused(stopped: Path, silent: Lines, times: dict[str, object]) -> None:
    (stopped / "timings.jsonl").write_text(json.dumps({"step": 5, **times}) + "\n")
    with pytest.raises(RunFolderError, match=r"timings\.jsonl is damaged: it does not hold the times at step 5"):
        resume_job(stopped, silent)


def test_a_run_that_is_going_on_is_not_resumed(stopped: Path) -> None:
    from metaexp.run.folder import RunFolder

    with RunFolder(stopped).lock(), pytest.raises(RunFolderError, match=f"in use by process {os.getpid()}"):
        resume_job(stopped)


def test_what_is_not_a_run_folder_is_not_resumed(tmp_path: Path, silent: Lines) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        resume_job(tmp_path, silent)


def test_killed_at_random_moments_it_ends_with_the_same_bytes(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """SIGKILLs at random times, and right before or after a write, a sync or a rename."""
    kills = size(8, 20)
    code, printed = run_program(KILLS / "kill_and_resume.py", [tmp_path, kills], tmp_path)
    assert code == 0, printed
    report = json.loads(printed.splitlines()[-1])
    assert report["kills"] >= kills
    assert report["folders"]
    assert report["different"] == []
    for name in report["folders"]:
        assert result_of(tmp_path / name) == expected
        assert read_record(tmp_path / name).status == "completed"


def test_killed_at_every_kind_of_call_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    every = size(61, 30)  # an odd number, so that kills come before calls and after them
    code, printed = run_program(KILLS / "crash_points.py", [tmp_path, "--every", every], tmp_path)
    assert code == 0, printed
    report = json.loads(printed.splitlines()[-1])
    assert report["points"] >= size(3, 5)
    assert report["failed"] == report["different"] == []


def test_checkpoints_of_a_stopped_run_are_the_last_two(stopped: Path) -> None:
    shutil.copytree(stopped, stopped.with_name("copy"))
    assert Checkpoints(stopped.with_name("copy") / "checkpoints").steps() == [5, 7]
