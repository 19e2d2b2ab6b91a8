"""The id of a W&B run: one for each run, whatever the environment says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metaexp.core.disk.locks import hold_lock
from metaexp.tracking import wandb_files
from metaexp.tracking.wandb_files import run_id


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two run folders, and nothing of W&B in the environment."""
    monkeypatch.setattr(wandb_files, "_OWNERS", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("RUN_ID", "RESUME", "SWEEP_ID"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    for name in ("one", "two"):
        (tmp_path / name / "wandb").mkdir(parents=True)
    return [tmp_path / "one", tmp_path / "two"]


def test_a_run_keeps_its_id(folders: list[Path]) -> None:
    first, second = map(run_id, folders)
    assert first != second
    assert list(map(run_id, folders)) == [first, second]


def test_an_id_in_the_environment_is_that_of_one_run(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    assert run_id(folders[0]) == "given"
    assert not caplog.messages
    own = run_id(folders[1])
    assert own != "given"
    assert "WANDB_RUN_ID=given is the id of another run" in caplog.messages[0]
    monkeypatch.setattr(wandb_files, "_OWNERS", {})  # a later process
    assert list(map(run_id, folders)) == ["given", own]
    monkeypatch.delenv("WANDB_RUN_ID")
    assert run_id(folders[0]) == "given"


_PROCESS = "import sys, pathlib, metaexp.tracking.wandb_files as f; print(f.run_id(pathlib.Path(sys.argv[1])))"


def _id_in_another_process(folder: Path) -> str:
    ran = subprocess.run([sys.executable, "-c", _PROCESS, folder], capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def test_two_processes_with_one_exported_id_do_not_share_it(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    assert _id_in_another_process(folders[0]) == "given"
    assert run_id(folders[1]) != "given"
    assert f"WANDB_RUN_ID=given is the id of another run, {folders[0].resolve()}" in caplog.messages[0]
    assert _id_in_another_process(folders[0]) == "given"


@pytest.mark.parametrize("way", ["WANDB_RESUME", "WANDB_SWEEP_ID"])
def test_a_run_that_is_told_to_goes_on_with_the_run_of_one_that_has_ended(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    monkeypatch.setenv(way, "must")
    assert _id_in_another_process(folders[0]) == "given"
    assert run_id(folders[1]) == "given"


def test_no_run_is_told_to_write_into_one_that_is_running(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    monkeypatch.setenv("WANDB_RESUME", "allow")
    with hold_lock(folders[0] / ".lock"):
        assert run_id(folders[0]) == "given"
        assert _id_in_another_process(folders[1]) != "given"


@pytest.mark.parametrize("kind", ["removed", "another id"])
def test_an_id_is_free_when_the_run_that_had_it_is_gone(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    assert _id_in_another_process(folders[0]) == "given"
    if kind == "removed":
        shutil.rmtree(folders[0])
    else:
        (folders[0] / "wandb" / "run-id").write_text("other")
    assert run_id(folders[1]) == "given"


def test_where_nothing_can_be_kept_the_id_is_taken(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file where the cache folder would be")
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    assert run_id(folders[0]) == "given"
    assert run_id(folders[1]) != "given"
