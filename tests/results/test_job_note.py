"""Why a job of a sweep has no record: said by all who look for one, in the words of the job's own note."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

import metaexp as mx
from metaexp.cli.main import main
from metaexp.compare.gather import gather
from metaexp.core.disk.locks import is_file_locked
from metaexp.core.errors import RunFolderError
from metaexp.results import job_note
from metaexp.results.job_note import (
    FROZEN_FILE,
    JOURNAL_FILE,
    LOCK_FILE,
    REPORT_FILE,
    STATE_FILE,
    SWEEP_FILE,
    Note,
    format_removed,
    no_record,
    removed_jobs,
    why_no_record,
    write_note,
)
from metaexp.results.job_state import lock_job
from metaexp.results.record import RECORD_FILE, read_record
from metaexp.run.folder import existing

ENDS = {
    "has not begun": None,
    "failed before it could write a record: DataError: no omniglot in <path>, get it": Note(
        "failed", 1, 2, "here", 3, "DataError: no omniglot in /home/me/data, get it."
    ),
    "failed before it could write a record": Note("failed", 1, 2, "here", 1),
    "was interrupted before it could write a record": Note("interrupted", 1, 2, "here", 130, "stopped by SIGINT"),
    "was killed before it could write a record": Note("running", 1, 2, "here"),
    "has lost its record.json": Note("completed", 1, 2, "here", 0),
}


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job without a record, in a sweep."""
    folder = tmp_path / "sweep" / "003-maml"
    folder.mkdir(parents=True)
    (folder / FROZEN_FILE).write_text("{}")
    return folder


@pytest.mark.parametrize("said", ENDS)
def test_a_comparison_says_why_a_job_has_no_record(job: Path, said: str) -> None:
    if (note := ENDS[said]) is not None:
        write_note(job, note)
    assert [(item.name, item.reason) for item in gather([job.parent]).left_out] == [("003-maml", said)]
    with pytest.raises(RunFolderError, match=f"none of these runs can be compared: 003-maml {said}"):
        mx.compare_runs(job.parent)
    write_note(job, Note("failed", 1, 2, "here", 3, "another"))
    assert gather([job.parent]).left_out[0].reason != said


def test_a_job_that_is_running_now_is_not_called_killed(job: Path) -> None:
    write_note(job, Note("running", 1, 2, "here"))
    with lock_job(job):
        assert why_no_record(job) == "is running, and has no record yet"
    assert why_no_record(job) == "was killed before it could write a record"


def test_every_other_reader_of_runs_says_it_too(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_note(job, Note("failed", 1, 2, "here", 3, "no such file"))
    said = "this run failed before it could write a record: no such file."
    assert [str(reason).endswith(said) for reason in mx.runs(job.parent).left_out.values()] == [True]
    for reader in (read_record, existing, mx.load_run):
        with pytest.raises(RunFolderError, match=said):
            reader(job)
    for command in (["evaluate", str(job)], ["why", str(job), str(job)], ["leaderboard", str(job.parent)]):
        main(command)
        shown = capsys.readouterr()
        assert said in shown.out + shown.err, command


@pytest.mark.parametrize("kind", ["damaged", "a folder", "a queue", "a link"])
def test_a_note_that_cannot_be_read_is_said_and_hangs_nobody(job: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "elsewhere").write_text("kept")
    for name in (STATE_FILE, LOCK_FILE):
        path = job / name
        if kind == "damaged":
            path.write_text("{")
        elif kind == "a folder":
            path.mkdir()
        elif kind == "a queue":
            os.mkfifo(path)
        else:
            path.symlink_to(tmp_path / "elsewhere")
    (found,) = gather([job.parent]).left_out
    assert found.reason.startswith("has no record, and ")
    assert STATE_FILE in found.reason
    assert (tmp_path / "elsewhere").read_text() == "kept"


def test_a_link_to_a_lock_that_is_held_elsewhere_is_not_a_job_that_runs(job: Path, tmp_path: Path) -> None:
    with lock_job(tmp_path):
        assert is_file_locked(tmp_path / LOCK_FILE)
        (job / LOCK_FILE).symlink_to(tmp_path / LOCK_FILE)
        assert why_no_record(job) == "has not begun"


def test_a_note_that_may_not_be_read_is_said(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(job_note, "read_regular", refuse)
    assert why_no_record(job) == "has no record, and job_state.json cannot be read: Permission denied"


def test_a_line_of_a_table_has_the_path_of_a_run_once(job: Path) -> None:
    table = mx.runs(job.parent)
    assert repr(table).splitlines()[-1] == f"  left out: {job}: this run has not begun."
    assert table._repr_html_().count(str(job)) == 1
    assert str(table.left_out[job]).startswith(f"{job}: ")
    (job / RECORD_FILE).write_text("{")
    assert f"  left out: {job}: record.json cannot be read as JSON: " in repr(mx.runs(job.parent))


@pytest.mark.parametrize("where", ["the sweep", "a folder above"])
def test_a_job_whose_folder_was_removed_is_left_out_by_its_name(job: Path, where: str) -> None:
    sweep = job.parent
    place = sweep if where == "the sweep" else sweep.parent
    (sweep / SWEEP_FILE).write_text(json.dumps({"jobs": {job.name: "0" * 64, "004-gone": "0" * 64}}))
    found = {item.name: item.reason for item in gather([place, sweep]).left_out}
    assert found == {job.name: "has not begun", "004-gone": "was removed, with its folder"}
    assert str(mx.runs(place).left_out[sweep / "004-gone"]).endswith("004-gone: this run was removed, with its folder.")
    with pytest.raises(RunFolderError, match="004-gone: this run was removed, with its folder"):
        mx.load_run(sweep / "004-gone")
    with pytest.raises(RunFolderError, match="004-never is not a run folder: there is no such folder"):
        mx.load_run(sweep / "004-never")
    shutil.rmtree(job)
    with pytest.raises(RunFolderError, match="has no run any more: 2 jobs were removed, such as 003-maml"):
        gather([place])


def test_a_trial_whose_folder_was_removed_is_left_out_by_its_name(job: Path) -> None:
    search = job.parent
    (search / SWEEP_FILE).write_text(json.dumps({"jobs": {}}))
    trials = [{"number": 0, "folder": name} for name in (job.name, "001-gone", "001-gone", None, "../x")]
    (search / REPORT_FILE).write_text(json.dumps({"trials": trials}))
    assert removed_jobs(search) == [search / "001-gone"]
    found = {item.name: item.reason for item in gather([search]).left_out}
    assert found == {job.name: "has not begun", "001-gone": "was removed, with its folder"}
    for damaged in ("[]", '{"trials": 3}', '{"trials": [3]}', '{"trials": [{}]}', "{"):
        (search / REPORT_FILE).write_text(damaged)
        assert removed_jobs(search) == []


def test_a_trial_of_a_search_without_a_report_is_known_from_the_journal(job: Path) -> None:
    search = job.parent
    (search / SWEEP_FILE).write_text(json.dumps({"jobs": {}}))
    events = [("begins", "002-x"), ("added", job.name), ("added", "001-gone"), ("added", "../x"), ("added", None)]
    lines = [json.dumps({"job": 0, "event": event, "text": text}) for event, text in events]
    (search / JOURNAL_FILE).write_text("\n".join([*lines, "[]", "3", "", '{"job": 1, "event": "add']))
    assert removed_jobs(search) == [search / "001-gone"]
    assert format_removed(removed_jobs(search)) == "1 run was removed, with its folder: 001-gone"
    (search / JOURNAL_FILE).write_text("")
    assert removed_jobs(search) == []


def test_a_run_that_lost_its_configuration_is_not_taken_for_a_folder_of_runs(tmp_path: Path) -> None:
    """Hydra's folder in it has a config.yaml, too."""
    run = tmp_path / "run"
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "config.yaml").write_text("")
    with pytest.raises(RunFolderError, match=r"run is not a run folder: it has no config\.yaml\.$"):
        existing(run)
    (run / RECORD_FILE).write_text("{}")
    with pytest.raises(RunFolderError, match=r"run is not a whole run folder: it has no config\.yaml\. Restore it, or"):
        existing(run)
    (run / "inside").mkdir()
    (run / "inside" / "config.yaml").write_text("")
    with pytest.raises(RunFolderError, match="run is not a whole run folder"):
        existing(run)
    (run / RECORD_FILE).unlink()
    with pytest.raises(RunFolderError, match="It is a folder with 1 run folder, such as .*run/inside: name one"):
        existing(run)


def test_a_run_that_lost_its_record_is_advised_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(RunFolderError, match=r"is not a run folder: it has no record\.json\.$"):  # of another program
        read_record(tmp_path)
    (tmp_path / "choices.yaml").write_text("")
    with pytest.raises(RunFolderError, match=rf"no record\.json\. `metaexp train resume={tmp_path}` continues the run"):
        read_record(tmp_path)


def test_removed_runs_are_named_in_one_line() -> None:
    assert format_removed([]) == ""
    assert format_removed([Path("a/b")]) == "1 run was removed, with its folder: b"
    assert format_removed([Path("b"), Path("c")]) == "2 runs were removed, with their folders: b, c"


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"jobs": 3}', '{"jobs": {}}', '{"jobs": ["../x", 3, "", "003-maml"]}']
)
def test_a_file_of_a_sweep_that_names_no_removed_job_leaves_out_none(job: Path, content: str) -> None:
    (job.parent / SWEEP_FILE).write_text(content)
    assert removed_jobs(job.parent) == []
    assert [item.name for item in gather([job.parent]).left_out] == [job.name]


def test_a_folder_that_is_not_a_job_is_said_to_be_not_a_run(tmp_path: Path, job: Path) -> None:
    assert "is not a run folder: it has no config.yaml" in str(no_record(tmp_path, "config.yaml"))
    (job / RECORD_FILE).write_text("{}")
    assert "is not a whole run folder: it has no config.yaml. Restore it" in str(no_record(job, "config.yaml"))


def test_a_folder_of_runs_is_answered_with_the_names_of_runs(tmp_path: Path) -> None:
    for name in ("b run", "a"):
        (tmp_path / "many" / name).mkdir(parents=True)
        (tmp_path / "many" / name / "config.yaml").touch()
    text = str(no_record(tmp_path / "many", "config.yaml"))
    assert (
        f"is not a run folder. It is a folder with 2 run folders, such as {tmp_path}/many/a: name one of them" in text
    )
    assert "`metaexp ls" in text
    assert "sweep" not in text
    (tmp_path / "many" / SWEEP_FILE).write_text("{}")
    text = str(no_record(tmp_path / "many", "config.yaml"))
    assert "It is the folder of a sweep with 2 run folders, such as" in text
    assert f"give the command again that `metaexp show {tmp_path}/many` prints" in text
    assert "it has no record.json" in str(no_record(tmp_path / "many"))
    assert "there is no such folder" in str(no_record(Path("\0")))
