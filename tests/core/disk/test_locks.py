"""Locks: one process at a time, named in the message, and let go of by the system when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metaexp.core.disk.locks import LockedError, acquire, hold_lock, is_locked

HOLD = """
import sys
from pathlib import Path
from metaexp.core.disk.locks import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def hold_in_another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the lock on ``path``."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_lock_is_taken_by_one_process_which_the_message_names(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold_in_another_process(path) as process:
        assert is_locked(path)
        with pytest.raises(LockedError, match=f"process {process.pid}$"):
            acquire(path)
    acquire(path)()


def test_the_system_lets_go_of_a_lock_when_its_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold_in_another_process(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not is_locked(path)
        with hold_lock(path):
            assert is_locked(path)
            assert str(os.getpid()) in path.read_text()


def test_a_second_lock_in_the_same_process_is_refused_too(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "lock"), pytest.raises(LockedError), hold_lock(tmp_path / "lock"):
        pass


def test_looking_makes_no_file(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []


def test_a_holder_that_wrote_nothing_useful_is_another_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold_lock(path):
        path.write_text("[]")
        with pytest.raises(LockedError, match="another process"):
            acquire(path)


def test_a_lock_is_never_taken_through_a_link(tmp_path: Path) -> None:
    """A run folder from a stranger could hold one, and what it leads to would be written to."""
    (tmp_path / "mine").write_text("kept")
    (tmp_path / "lock").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic links"):
        acquire(tmp_path / "lock")
    assert (tmp_path / "mine").read_text() == "kept"


def test_an_error_of_the_disk_names_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pwrite", broken)
    with pytest.raises(OSError, match="Input/output error") as raised:
        acquire(tmp_path / "lock")
    assert raised.value.filename == str(tmp_path / "lock")


def test_the_holder_is_not_written_into_a_file_with_other_names(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    os.link(tmp_path / "precious", tmp_path / ".lock")
    with hold_lock(tmp_path / ".lock"):
        assert is_locked(tmp_path / ".lock")
    assert (tmp_path / "precious").read_text() == "precious"
    with hold_lock(tmp_path / "own"):
        assert (tmp_path / "own").read_text() == f'{{"pid": {os.getpid()}}}'
