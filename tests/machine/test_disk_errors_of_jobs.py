"""Errors of the disk in jobs, studies and run folders: one sentence with the file and the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.config import yaml_files
from metaexp.core.errors import ExitCode, RunFolderError
from metaexp.run import checkpoint
from metaexp.sweep.job_state import new_note
from metaexp.sweep.processes.worker import _note_of


def test_a_job_that_the_disk_ends_has_the_code_of_the_machine(tmp_path: Path) -> None:
    note = _note_of(OSError(5, "Input/output error", "outputs/journal.jsonl"), new_note(tmp_path))
    assert note.exit_code == ExitCode.MACHINE
    assert note.error is not None
    assert note.error.startswith("MachineError: outputs/journal.jsonl cannot be used: Input/output error.")
    assert _note_of(ZeroDivisionError(), new_note(tmp_path)).exit_code == ExitCode.BUG


def test_a_file_that_cannot_be_read_is_named_with_the_reason_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    (tmp_path / "config.yaml").write_text("a: 1")
    monkeypatch.setattr(yaml_files, "read_yaml", broken)
    with pytest.raises(RunFolderError, match=r"config.yaml cannot be read: Input/output error.$"):
        yaml_files.read_mapping(tmp_path / "config.yaml")
    monkeypatch.setattr(checkpoint, "read_regular", broken)
    with pytest.raises(checkpoint.DamagedError, match="a file cannot be read .Input/output error."):
        checkpoint.read_files(tmp_path / "best")
