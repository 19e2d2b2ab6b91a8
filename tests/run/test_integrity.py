"""A run folder that was changed, or that leads elsewhere, is refused; places that cannot be used are said early."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from metaexp.core.errors import ExitCode, MachineError, RunFolderError
from metaexp.results.record import read_record
from metaexp.run.evaluation import evaluate as evaluate_module
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.folder import RunFolder
from metaexp.run.integrity import check_choices, check_run_files
from metaexp.run.job import resume_job, run_job
from metaexp.run.progress import Lines


def test_the_run_that_many_tests_begin_with_is_as_if_it_had_been_trained_for_each(
    finished: Path, tiny: ModuleType, tmp_path: Path, silent: Lines
) -> None:
    trained = run_job(tiny.settings(tmp_path), display=silent).folder
    assert trained != finished
    for name in ("config.yaml", "metrics.jsonl", "test_episodes.csv", "checkpoints/best.safetensors"):
        assert (finished / name).read_bytes() == (trained / name).read_bytes()
    assert f"outputs: {tmp_path}\n" in (finished / "config.yaml").read_text()


def change(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def test_metrics_before_the_checkpoint_that_were_changed_are_refused(stopped: Path, silent: Lines) -> None:
    metrics = stopped / "metrics.jsonl"
    before = metrics.read_bytes()
    metrics.write_bytes(before.replace(b'"step": 3', b'"step": 2'))
    with pytest.raises(RunFolderError, match=r"first \d+ bytes of .*metrics\.jsonl are not those that"):
        resume_job(stopped, silent)
    metrics.write_bytes(before + b"later lines are cut off")
    assert resume_job(stopped, silent).record.status == "completed"


def test_a_checkpoint_of_before_the_digest_is_continued(stopped: Path, silent: Lines) -> None:
    for path in (stopped / "checkpoints").glob("step_*.json"):
        manifest = json.loads(path.read_text())
        del manifest["values"]["metrics_sha256"], manifest["values"]["unvalidated"]
        text = json.dumps(manifest["values"], sort_keys=True).encode()
        manifest["sha256"]["values"] = hashlib.sha256(text).hexdigest()
        path.write_text(json.dumps(manifest))
    assert resume_job(stopped, silent).record.status == "completed"


@pytest.mark.parametrize("key", ["seed: 0", "inner_lr: 0.1"])
def test_an_edited_configuration_is_refused(finished: Path, silent: Lines, key: str) -> None:
    change(finished / "config.yaml", key, f"{key}5")
    with pytest.raises(RunFolderError, match=r"changed since the run began: config\.yaml") as refused:
        evaluate_run(finished, display=silent)
    assert refused.value.exit_code == ExitCode.RUN_FOLDER


@pytest.mark.parametrize("number", [".nan", "-.inf", "1" + "0" * 400])
def test_a_number_in_the_configuration_that_no_run_has_is_refused_by_every_reader(
    finished: Path, silent: Lines, number: str
) -> None:
    change(finished / "config.yaml", "inner_lr: 0.1", f"inner_lr: {number}")
    record = read_record(finished)
    readers: list[Callable[[], object]] = [
        lambda: evaluate_run(finished, display=silent),
        lambda: check_run_files(finished, record),
        lambda: RunFolder(finished).load_settings(),
    ]
    for read in readers:
        with pytest.raises(RunFolderError, match=r"config\.yaml: key algorithm\.inner_lr is .*must be a finite number"):
            read()


@pytest.mark.parametrize("group", ["algorithm", "model", "dataset", "experiment"])
def test_a_run_is_not_shown_under_another_name_than_that_of_its_record(
    group: str, finished: Path, stopped: Path, silent: Lines
) -> None:
    for folder in (finished, stopped):
        check_run_files(folder, read_record(folder))
        path = folder / "choices.yaml"
        lines = [line for line in path.read_text().splitlines() if not line.startswith(f"{group}:")]
        path.write_text("\n".join([*lines, f"{group}: other"]) + "\n")
        with pytest.raises(RunFolderError, match=rf"choices.yaml: {group} is other, and in record.json it is"):
            check_run_files(folder, read_record(folder))
    with pytest.raises(RunFolderError, match=f"{group} is other"):
        evaluate_run(finished, [], display=silent)
    with pytest.raises(RunFolderError, match=f"{group} is other"):
        resume_job(stopped, display=silent)


def test_the_name_of_a_network_that_was_not_made_is_not_compared(finished: Path) -> None:
    record = read_record(finished)
    check_choices(finished, replace(record, model="none"))
    for other in (replace(record, algorithm="none"), replace(record, model="another")):
        with pytest.raises(RunFolderError, match="and in record.json it is"):
            check_choices(finished, other)


@pytest.mark.parametrize(
    ("node", "shown"),
    [
        ({"stand_in": True}, "lines (stand-in)"),
        ({"_target_": "metaexp.data.image_folder.ImageFolder", "folder": "my/birds.zip"}, "lines-birds"),
        ({"_target_": "metaexp.data.image_folder.ImageFolder", "folder": "my/birds.zip"}, "lines"),  # as earlier
    ],
)
def test_a_dataset_may_be_shown_with_its_folder_and_as_a_stand_in(
    finished: Path, node: dict[str, object], shown: str
) -> None:
    record = read_record(finished)
    other = replace(record, dataset=shown, config=record.config | {"dataset": record.config["dataset"] | node})
    check_choices(finished, other)
    with pytest.raises(RunFolderError, match="dataset is lines, and in record.json it is"):
        check_choices(finished, replace(other, dataset=f"{shown} of another"))


def test_a_key_that_decides_no_number_may_be_edited(finished: Path, silent: Lines) -> None:
    change(finished / "config.yaml", "data: data", "data: elsewhere")
    assert evaluate_run(finished, display=silent).evaluation.test.n_episodes == 10


@pytest.mark.parametrize("what", ["best", "checkpoint"])
def test_weights_of_another_run_are_refused(
    tiny: ModuleType, tmp_path: Path, finished: Path, silent: Lines, what: str
) -> None:
    other = run_job(tiny.settings(tmp_path, seed=3), display=silent).folder
    shutil.rmtree(finished / "checkpoints")
    shutil.copytree(other / "checkpoints", finished / "checkpoints")
    if what == "checkpoint":
        for path in (finished / "checkpoints").glob("best.*"):
            path.unlink()
    with pytest.raises(RunFolderError, match="holds weights of another run"):
        evaluate_run(finished, display=silent)


def test_a_checkpoints_folder_that_cannot_be_read_restarts_nothing(
    stopped: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (stopped / "metrics.jsonl").read_bytes()
    listed = Path.iterdir

    def denied(self: Path) -> object:
        if self.name == "checkpoints":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(RunFolderError, match=r"checkpoints cannot be read \(Permission denied\)"):
        resume_job(stopped, silent)
    assert (stopped / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    "name", ["run.log", ".lock", "metrics.jsonl", "checkpoints", "plots", "evaluations", "record.json"]
)
@pytest.mark.parametrize("verb", [resume_job, evaluate_run])
def test_nothing_is_opened_through_a_link(
    stopped: Path, silent: Lines, tmp_path: Path, name: str, verb: Callable[..., object]
) -> None:
    outside = tmp_path / "outside"
    if (stopped / name).is_dir():
        shutil.move(stopped / name, outside)
    elif (stopped / name).exists():
        outside.write_bytes((stopped / name).read_bytes())
        (stopped / name).unlink()
    else:
        outside.mkdir()
    (stopped / name).symlink_to(outside)
    before = {path: path.stat().st_mtime_ns for path in [outside, *outside.rglob("*")]}
    with pytest.raises(RunFolderError, match=f"{name} is a symbolic link"):
        verb(stopped, display=silent)
    assert {path: path.stat().st_mtime_ns for path in [outside, *outside.rglob("*")]} == before


def test_a_new_run_in_a_folder_with_a_link_is_refused(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.log").symlink_to(tmp_path / "profile")
    with pytest.raises(RunFolderError, match="run.log is a symbolic link"):
        run_job(tiny.settings(tmp_path), folder=tmp_path / "run", display=silent)
    assert not (tmp_path / "profile").exists()


def too_long(place: Path) -> Path:
    return place / ("x" * 300)


def below_a_file(place: Path) -> Path:
    (place / "file").write_text("")
    return place / "file" / "run"


def a_file(place: Path) -> Path:
    (place / "file").write_text("")
    return place / "file"


def a_loop(place: Path) -> Path:
    (place / "loop").symlink_to(place / "loop")
    return place / "loop" / "run"


def below_a_broken_link(place: Path) -> Path:
    (place / "link").symlink_to(place / "nowhere")
    return place / "link" / "run"


@pytest.mark.parametrize("made", [too_long, below_a_file, a_file, a_loop, below_a_broken_link])
@pytest.mark.parametrize("given", ["outputs", "folder"])
def test_a_place_that_cannot_be_written_is_reported_before_the_data_are_loaded(
    tiny: ModuleType, tmp_path: Path, silent: Lines, given: str, made: Callable[[Path], Path]
) -> None:
    place = made(tmp_path)
    settings = tiny.settings(place if given == "outputs" else tmp_path, dataset={"_target_": "tiny_runs.Missing"})
    with pytest.raises(MachineError, match="cannot be used: .*paths.outputs") as refused:
        run_job(settings, folder=place if given == "folder" else None, display=silent)
    assert refused.value.exit_code == ExitCode.MACHINE
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EACCES, errno.EFBIG, errno.ESTALE])
def test_an_output_that_fails_while_training_ends_the_run_with_one_line(
    tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def failing(handle: int) -> None:
        raise OSError(number, os.strerror(number), "checkpoints/step_000000005.safetensors")

    with monkeypatch.context() as patch:
        patch.setattr("metaexp.run.checkpoint.sync_folder", failing)
        patch.setattr("metaexp.run.checkpoint.write_atomically", lambda path, content: failing(0))
        with pytest.raises(MachineError, match=f"{os.strerror(number)}.*resume="):
            run_job(tiny.settings(tmp_path), folder=tmp_path / "run", display=silent)
    record = read_record(tmp_path / "run")
    assert record.status == "failed"
    assert (record.error or "").startswith("MachineError: ")


@pytest.mark.parametrize("what", ["folder", "metrics.jsonl", "cut"])
def test_a_folder_or_metrics_that_disappear_while_training_end_the_run(
    tiny: ModuleType, tmp_path: Path, acting_at: Callable[..., Lines], what: str
) -> None:
    folder = tmp_path / "run"

    def vanish() -> None:
        if what == "folder":
            shutil.rmtree(folder)
        elif what == "cut":
            os.truncate(folder / "metrics.jsonl", 3)
        else:
            (folder / what).unlink()

    with pytest.raises(MachineError, match="has disappeared while the run was|has lost lines while the run was"):
        run_job(tiny.settings(tmp_path), folder=folder, display=acting_at("train", 6, vanish))


def test_an_evaluation_that_cannot_be_kept_gives_its_number(
    finished: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = evaluate_run(finished, display=silent)
    assert kept.path is not None

    def read_only(path: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(evaluate_module, "make_folder", read_only)
    found = evaluate_run(finished)
    assert found.path is None
    assert found.evaluation.test == kept.evaluation.test
    assert "could not be kept in" in capsys.readouterr().err
