"""The id of a W&B run: one for each run, whatever the environment says."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.tracking import wandb_files
from metaexp.tracking.wandb_files import run_id


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two run folders, and no id in the environment."""
    monkeypatch.setattr(wandb_files, "_OWNERS", {})
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
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
