"""Errors of the disk in jobs, studies and run folders: one sentence with the file and the reason."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from metaexp.config import yaml_files
from metaexp.core.errors import ExitCode, RunFolderError
from metaexp.results.job_state import new_note
from metaexp.run import checkpoint
from metaexp.sweep.processes.worker import _note_of


def test_a_job_that_the_disk_ends_has_the_code_of_the_machine(tmp_path: Path) -> None:
    note = _note_of(OSError(5, "Input/output error", "outputs/journal.jsonl"), new_note(tmp_path))
    assert note.exit_code == ExitCode.MACHINE
    assert note.error is not None
    assert note.error.startswith("MachineError: outputs/journal.jsonl cannot be used: Input/output error.")
    assert _note_of(ZeroDivisionError(), new_note(tmp_path)).exit_code == ExitCode.BUG


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_what_to_do_about_a_disk_is_right_for_a_job_of_a_sweep(tmp_path: Path, number: int) -> None:
    note = _note_of(OSError(number, os.strerror(number), "outputs/best"), new_note(tmp_path))
    assert note.error is not None
    assert "a sweep or a search with its own command, given again." in note.error
    other = _note_of(OSError(errno.ENOENT, "No such file or directory", "outputs/best"), new_note(tmp_path))
    assert "given again" not in str(other.error)


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
