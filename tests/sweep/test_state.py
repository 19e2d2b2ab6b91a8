"""The state of a job is read from its folder; a sweep's folder exists as a whole or not at all."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from metaexp.config.compose import Composer
from metaexp.core.errors import RunFolderError
from metaexp.results.job_note import read_note, write_note
from metaexp.results.job_state import is_job_locked, lock_job, new_note, read_state
from metaexp.sweep.folder import create, open_sweep
from metaexp.sweep.freezer import Freezer
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.processes.job_process import final_state


@pytest.fixture
def job() -> FrozenJob:
    return Freezer(Composer(), "s", frozenset()).freeze(0, ["seed=0"])


def test_a_job_waits_runs_and_ends(tmp_path: Path) -> None:
    assert read_state(tmp_path).status == "waiting"
    note = new_note(tmp_path)
    with lock_job(tmp_path) as mine:
        assert mine
        write_note(tmp_path, note)
        assert read_state(tmp_path).status == "running"
    assert read_state(tmp_path).status == "killed", "its process is gone and wrote no error"
    write_note(tmp_path, replace(note, status="failed", exit_code=3, error="DataError: no data"))
    state = read_state(tmp_path)
    assert (state.status, state.exit_code, state.error, state.attempts) == ("failed", 3, "DataError: no data", 1)
    assert state.ended_badly
    assert new_note(tmp_path).attempts == 2


def test_only_one_process_claims_a_job_and_its_death_lets_go(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with lock_job(tmp_path):
            (tmp_path / "holds").touch()
            while True:
                signal.pause()  # until it is killed
    while not (tmp_path / "holds").exists():
        time.sleep(0.01)
    with lock_job(tmp_path) as mine:
        assert not mine
    assert is_job_locked(tmp_path)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not is_job_locked(tmp_path)
    with lock_job(tmp_path) as mine:
        assert mine


@pytest.mark.parametrize(
    ("code", "asked", "status", "said"),
    [
        (-9, False, "killed", "killed by SIGKILL, as the system does when memory runs out"),
        (-11, False, "killed", "killed by SIGSEGV"),
        (3, False, "failed", "ended with exit code 3 and wrote no error"),
        (-15, True, "interrupted", "stopped before it could save"),
    ],
)
def test_a_process_that_ended_without_a_word_is_spoken_for(
    tmp_path: Path, code: int, asked: bool, status: str, said: str
) -> None:
    write_note(tmp_path, new_note(tmp_path))
    state = final_state(tmp_path, code, asked_to_stop=asked)
    assert state.status == status
    assert said in str(state.error)
    assert read_state(tmp_path) == state, "it is written down"
    assert state.attempts == 1


def test_a_damaged_note_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "job_state.json").write_text("{")
    with pytest.raises(
        RunFolderError, match=r"job_state\.json is damaged: .* Remove it, and give the same command again\."
    ):
        read_note(tmp_path)


def test_a_sweep_is_written_whole_and_read_back(tmp_path: Path, job: FrozenJob) -> None:
    sweep = create(tmp_path / "s", ["metaexp", "train"], "abc", [job, replace(job, number=1, name="001-other")])
    assert open_sweep(sweep.path).head == sweep.head
    assert open_sweep(sweep.path).jobs() == sweep.jobs() == [job, replace(job, number=1, name="001-other")]
    assert [path.name for path in tmp_path.iterdir()] == ["s"], "the draft is gone"
    with pytest.raises(RunFolderError, match="exists already"):
        create(tmp_path / "s", [], "abc", [job])
    with pytest.raises(RunFolderError, match="a job is frozen only once. Rename or remove the folder"):
        sweep.add(job)


def test_what_is_not_a_sweep_is_refused(tmp_path: Path, job: FrozenJob) -> None:
    with pytest.raises(RunFolderError, match=r"is not the folder of a sweep: it has no sweep\.json"):
        open_sweep(tmp_path)
    path = create(tmp_path / "s", [], "abc", [job]).path / "sweep.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 9'))
    with pytest.raises(RunFolderError, match=r"schema_version is 9, and this .* reads 1\. Continue with the version"):
        open_sweep(path.parent)
    path.write_text("[]")
    with pytest.raises(RunFolderError, match="damaged"):
        open_sweep(path.parent)


def test_a_line_of_the_journal_that_was_cut_short_spoils_no_other(tmp_path: Path, job: FrozenJob) -> None:
    sweep = create(tmp_path / "s", [], "abc", [job])
    sweep.journal(0, "begins")
    with (sweep.path / "journal.jsonl").open("a") as file:
        file.write('{"time": "2026-')
    sweep.journal(0, "failed", "why")
    assert [(entry["event"], entry.get("text")) for entry in sweep.events()] == [("begins", None), ("failed", "why")]
