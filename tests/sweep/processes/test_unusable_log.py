"""A job whose output cannot be written fails by name; the others run, and nothing outside is written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from metaexp.core.errors import ExitCode
from metaexp.results.job_note import read_note
from metaexp.results.job_state import read_state
from metaexp.run.progress import Lines
from metaexp.sweep.folder import create
from metaexp.sweep.prepare import prepare
from metaexp.sweep.processes import job_process
from metaexp.sweep.processes.warm_start import open_job_starter
from metaexp.sweep.run import run_all

CONF = Path("conf")
KINDS = ["a folder", "a FIFO", "a link to a file", "a link to a device", "a link to nothing"]


def replace(path: Path, kind: str) -> None:
    """Put something that is not a regular file in the place of a file."""
    path.unlink(missing_ok=True)
    if kind == "a folder":
        path.mkdir()
    elif kind == "a FIFO":
        os.mkfifo(path)
    else:
        target = {"a link to a file": "outside.txt", "a link to a device": "/dev/full", "a link to nothing": "new.txt"}
        path.symlink_to(Path(target[kind]).absolute())


def several_jobs(family: ModuleType, count: int) -> tuple[list[str], list[Path]]:
    """The overrides of a sweep that was made and not run, and the folders of its jobs."""
    overrides = [*family.COMMON, f"seed=range({count})"]
    prepared = prepare(overrides, CONF, "config")
    sweep = create(prepared.path, [], prepared.digest, prepared.jobs)
    return overrides, [sweep.folder(job) for job in prepared.jobs]


@pytest.mark.parametrize("fork", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_no_process_is_started_for_a_job_whose_log_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, fork: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    prepared = prepare(["dataset=sinusoid", "device=cpu", "seed=0,1"], None, "config")
    sweep = create(prepared.path, [], prepared.digest, prepared.jobs)
    bad = sweep.folder(prepared.jobs[0])
    replace(bad / "output.log", kind)
    with open_job_starter((), 1, print, fork=fork) as begin:
        process = begin(bad)
        assert process.wait() == process.poll() == ExitCode.RUN_FOLDER
        process.stop()
        process.kill()
    state = read_state(bad)
    assert (state.status, state.exit_code) == ("failed", ExitCode.RUN_FOLDER)
    assert f"{bad / 'output.log'} is a" in str(state.error)


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_disk_that_takes_no_log_is_an_error_of_the_machine(
    family: ModuleType, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (folder,) = several_jobs(family, 1)

    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(job_process, "append_regular", refuse)
    process = job_process.unless_log_opens(folder)
    assert process is not None
    assert process.wait() == ExitCode.MACHINE
    state = read_state(folder)
    assert state.exit_code == ExitCode.MACHINE
    assert os.strerror(number) in str(state.error)
    assert "output.log" in str(state.error)


def test_jobs_whose_logs_cannot_be_written_are_named_and_the_others_run(
    family: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides, (good, *bad) = several_jobs(family, 1 + len(KINDS))
    Path("outside.txt").write_text("mine")
    for folder, kind in zip(bad, KINDS, strict=True):
        replace(folder / "output.log", kind)
    assert run_all(overrides, CONF, "config", Lines(Console(quiet=True))) == ExitCode.JOBS_FAILED
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("   ")}
    for number, (folder, kind) in enumerate(zip(bad, KINDS, strict=True), 1):
        what = kind.partition(" to")[0].replace("link", "symbolic link")
        assert f"FAILED, RunFolderError: {folder / 'output.log'} is {what}" in rows[str(number)]
        assert not (folder / "record.json").exists()
    assert read_state(good).status == "completed"
    assert Path("outside.txt").read_text() == "mine"
    assert not Path("new.txt").exists()

    for folder, kind in zip(bad, KINDS, strict=True):
        (folder / "output.log").rmdir() if kind == "a folder" else (folder / "output.log").unlink()
    assert run_all(overrides, CONF, "config", Lines(Console(quiet=True))) == 0
    for folder in bad:
        assert read_state(folder).status == "completed"
        note = read_note(folder)
        assert note is not None
        assert note.attempts == 1


def test_notes_that_are_not_files_are_named_and_the_others_run(
    family: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides, (good, *bad) = several_jobs(family, 3)
    for folder, kind in zip(bad, ["a FIFO", "a link to a device"], strict=True):
        replace(folder / "job_state.json", kind)
    assert run_all(overrides, CONF, "config", Lines(Console(quiet=True))) == ExitCode.JOBS_FAILED
    out = capsys.readouterr().out
    for folder in bad:
        assert f"{folder / 'job_state.json'} is a" in out
    assert read_state(good).status == "completed"


@pytest.mark.parametrize("kind", KINDS)
def test_a_journal_that_is_not_a_file_is_refused_before_any_job_runs(family: ModuleType, kind: str) -> None:
    overrides = [*family.COMMON, "algorithm.case=0,1"]
    prepared = prepare(overrides, CONF, "config")
    sweep = create(prepared.path, [], prepared.digest, prepared.jobs)
    Path("outside.txt").write_text("mine")
    replace(sweep.path / "journal.jsonl", kind)
    assert run_all(overrides, CONF, "config", Lines(Console(quiet=True))) == ExitCode.JOBS_FAILED
    assert Path("outside.txt").read_text() == "mine"
    assert not Path("new.txt").exists()
    assert not any((sweep.folder(job) / "record.json").exists() for job in prepared.jobs)
    for job in prepared.jobs:
        assert "journal.jsonl is a" in json.dumps(read_state(sweep.folder(job)).error)
