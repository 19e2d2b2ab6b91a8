"""Errors of a disk end a command with the code of the machine, whoever explained them."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from metaexp.cli.main import main
from metaexp.core.disk.errors import PlaceError, explain_disk_errors, is_disks_fault
from metaexp.core.errors import DataError, MachineError, RunFolderError

OLD = Path(__file__).resolve().parents[2] / "old_runs" / "completed"


def raised_from(number: int) -> RunFolderError:
    cause = DataError("the bank cannot be read")
    cause.__cause__ = OSError(number, "text", "file")
    error = RunFolderError("the run cannot be read")
    error.__cause__ = cause
    return error


def test_only_a_disk_is_at_fault_for_what_no_user_can_do() -> None:
    for number in (errno.EIO, errno.EROFS, errno.ENOSPC, errno.ESTALE):
        assert is_disks_fault(raised_from(number))
    for number in (errno.ENOENT, errno.ENOTDIR, errno.EEXIST):
        assert not is_disks_fault(raised_from(number))
    assert not is_disks_fault(RunFolderError("no cause"))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left", "run/a"), "the disk is full at run/a: No space left. Free some space."),
        (OSError(errno.ENOSPC, "No space left"), "the disk is full: No space left. Free some space."),
        (OSError(errno.EACCES, "Denied", "run/a"), "run/a cannot be used: Denied. Fix it, or choose another place"),
        (OSError(errno.EIO, "Input/output error"), "a file cannot be read or written: Input/output error. Fix it"),
    ],
)
def test_errors_of_a_disk_say_what_to_do(error: OSError, said: str) -> None:
    with pytest.raises(MachineError) as raised, explain_disk_errors():
        raise error
    assert str(raised.value).startswith(said)
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("number", [errno.ENOTDIR, errno.EROFS, errno.ENOSPC, errno.ENOTTY])
def test_of_a_place_where_nothing_has_begun_nothing_is_said_to_continue(number: int) -> None:
    with pytest.raises(MachineError) as tried, explain_disk_errors():
        raise PlaceError(number, "text", "outputs")
    assert "outputs" in str(tried.value)
    assert "(for a run: paths.outputs=FOLDER)." in str(tried.value)
    assert "continues with" not in str(tried.value)


def test_of_a_file_of_a_run_it_is_said_how_the_run_continues() -> None:
    with pytest.raises(MachineError, match="A run continues with resume=RUN_FOLDER"), explain_disk_errors():
        raise OSError(errno.EROFS, "text", "outputs/run/metrics.jsonl")


def test_an_error_that_may_be_a_fault_of_the_program_stays_what_it_is() -> None:
    error = OSError(errno.EACCES, "Denied")  # of no file
    with pytest.raises(OSError, match="Denied") as raised, explain_disk_errors():
        raise error
    assert raised.value is error


@pytest.mark.parametrize(("number", "code"), [(errno.EIO, 6), (errno.ENOTDIR, 4)])
@pytest.mark.parametrize("verb", ["evaluate", "why", "reproduce"])
def test_a_record_that_a_disk_does_not_give_ends_with_the_code_of_the_machine(
    verb: str,
    number: int,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def fails(path: Path, *_: int) -> bytes:
        raise OSError(number, "does not work", str(path))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("metaexp.results.record.read_regular", fails)
    assert main([verb, str(OLD), *([str(OLD)] if verb == "why" else [])]) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "record.json" in line
    assert "does not work" in line
