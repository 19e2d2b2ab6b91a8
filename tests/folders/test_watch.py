"""``metaexp watch``: the table of a running or ended sweep, search or run, and the lines where there is no terminal."""

from __future__ import annotations

import io
import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from folders_of_runs import a_job, a_record, config, write_run, write_search, write_sweep
from rich.console import Console

from metaexp.cli.folders import watch as verb
from metaexp.cli.main import main
from metaexp.core.disk.locks import hold_lock
from metaexp.folders.find import find
from metaexp.folders.watch import Watched, format_changes, format_watched
from metaexp.results.job_note import Note, write_note
from metaexp.results.progress_file import PROGRESS_FILE, Progress, write_progress
from metaexp.results.record import write_record
from metaexp.sweep.folder import create

HALF = Progress("train", 300, 600, 300, 600, 10.0, 50.0, 30.0)
TESTS = {"eval": {"test": True, "episodes": 1000}}


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep of four jobs: completed, running, failed, waiting. The running one is locked by :func:`working`."""
    monkeypatch.chdir(tmp_path)
    made = [replace(a_job(n), config=config(seed=n) | TESTS) for n in range(4)]
    path = create(Path("sweep"), ["metaexp", "train", "-m", "seed=range(4)"], "d", made).path
    write_record(a_record(seconds=60.0), path / made[0].name)
    running = path / made[1].name
    write_note(running, Note("running", 1, 1, "here"))
    write_record(a_record("running", seed=1, test=None, val=None, config=made[1].config), running)
    (running / "metrics.jsonl").write_text('{"step": 200, "val/accuracy": 0.41, "val/ci95": 0.02}\n{"step": 300, "tra')
    write_progress(running, HALF)
    write_note(path / made[2].name, Note("failed", 1, 1, "here", 5, "NotFiniteError: the loss is nan"))
    return path


def working(sweep: Path, stack: ExitStack) -> None:
    """Lock the running job, as its process would."""
    stack.enter_context(hold_lock(sweep / a_job(1).name / ".claim"))


def test_each_job_has_phase_step_validation_rate_and_time_left(sweep: Path) -> None:
    with ExitStack() as stack:
        working(sweep, stack)
        text = format_watched(find(sweep)[0], Watched(find(sweep)[0]).look())
    head, columns, *lines = text.splitlines()
    # the running one: 300 steps at 10 a second and 1,000 episodes at 50; the waiting one as long as the completed one
    assert head == "sweep: 1 completed, 1 failed, 1 running, 1 waiting, about 2 min left"
    assert columns.split() == ["job", "state", "phase", "step", "result", "rate", "left"]
    assert lines[0].split("  ")[0] == "0"
    assert "test 50.00 ± 1.00 %" in lines[0]
    assert lines[1].split() == [
        "1", "running", "train", "300/600", "300/600", "val", "41.00", "±", "2.00", "%", "10/s", "50", "s", "seed=1",
    ]  # fmt: skip
    assert lines[3].split() == ["3", "waiting", "-", "0/600", "-", "-", "-", "seed=3"]
    assert lines[4:] == [
        "ended badly:",
        f"  2: NotFiniteError: the loss is nan ({sweep}/002-maml-glyphs-seed2/run.log)",
    ]


def test_a_job_whose_process_is_gone_has_stopped_whatever_it_left_behind(sweep: Path) -> None:
    text = format_watched(find(sweep)[0], Watched(find(sweep)[0]).look())
    assert text.startswith("sweep: 1 completed, 1 failed, 1 stopped, 1 waiting; no process works on it\n")
    assert "1    stopped" in text
    assert "300/600" not in text  # what the file of a killed run says is ignored
    assert "600/600" in text


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"phase": 5}', json.dumps(HALF.__dict__ | {"phase": "\x1b[2J"}),
     json.dumps(HALF.__dict__ | {"done": -1}), json.dumps(HALF.__dict__ | {"seconds": 1e200}), "x" * 20_000],
)  # fmt: skip
def test_a_damaged_progress_file_is_ignored(sweep: Path, content: str) -> None:
    (sweep / a_job(1).name / PROGRESS_FILE).write_text(content)
    with ExitStack() as stack:
        working(sweep, stack)
        (line,) = [line for line in Watched(find(sweep)[0]).look().lines if line.state == "running"]
    assert (line.phase, line.rate, line.seconds_left) == ("starting", "-", None)


def test_a_job_that_repeats_another_is_said_to(tmp_path: Path) -> None:
    made = [a_job(0), replace(a_job(0), number=1, name="001-again")]
    found = find(create(tmp_path / "sweep", ["metaexp"], "d", made).path)[0]
    text = format_watched(found, Watched(found).look())
    assert ": 1 waiting, 1 the same as others; no process works on it" in text
    assert "as job 0" in text


def test_what_has_ended_is_read_once_and_new_trials_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = find(write_search(tmp_path / "search"))[0]
    watched = Watched(search)
    before = watched.look().lines
    assert [line.result for line in before] == ["val 40.00 ± 1.00 %", "val 70.00 ± 1.00 %"]
    with monkeypatch.context() as patch:
        patch.setattr("metaexp.folders.watch.read_run", None)  # a call would fail
        assert watched.look().lines == before
    inner = tmp_path / "search" / "002-more"
    inner.mkdir()
    write_record(a_record(test=None), inner)
    assert len(watched.look().lines) == 3


def test_lines_tell_what_has_changed(sweep: Path) -> None:
    watched = Watched(find(sweep)[0])
    with ExitStack() as stack:
        working(sweep, stack)
        before = watched.look().lines
        assert format_changes(before, watched.look().lines) == []
        write_progress(sweep / a_job(1).name, replace(HALF, done=301, step=301))
        assert format_changes(before, watched.look().lines) == []  # a further step is not an event
        write_progress(sweep / a_job(1).name, replace(HALF, phase="validate", done=1, total=9))
        (changed,) = format_changes(before, watched.look().lines)
    assert changed.startswith("1  running  validate 1/9  300/600  val 41.00 ± 2.00 %  50 s left  seed=1")


def test_a_long_reason_is_shown_to_its_end(tmp_path: Path) -> None:
    error = f"DataError: {'a long path/' * 20} is gone."
    run = write_run(tmp_path / "run", a_record("failed", error=error, test=None))
    (found,) = find(run)
    assert f": {error} (" in format_watched(found, Watched(found).look())


def test_the_verb_prints_one_table_with_once(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ExitStack() as stack:
        working(sweep, stack)
        assert main(["watch", "--once", str(sweep)]) == 0
    out = capsys.readouterr().out
    assert out.count("sweep: ") == 1
    assert "next:" not in out
    run = write_run(Path("run"), a_record("failed", error="DataError: gone", test=None))
    assert main(["watch", "--once", str(run)]) == 0
    assert "run: 1 failed; no process works on it\nrun  state" in capsys.readouterr().out


def test_without_a_terminal_lines_follow_until_nothing_runs(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = ExitStack()
    working(sweep, stack)
    job = sweep / a_job(1).name

    def pass_time(_: float) -> None:
        """The job ends between two looks."""
        write_record(a_record(seed=1), job)
        stack.close()

    monkeypatch.setattr(verb, "time", SimpleNamespace(sleep=pass_time))
    assert main(["watch", str(sweep)]) == 0
    out = capsys.readouterr().out
    assert "\n1  completed  600/600  test 50.00 ± 1.00 %  seed=1\n" in out
    assert "sweep: 2 completed, 1 failed, 1 waiting; no process works on it\nnext:\n  metaexp compare sweep" in out


def test_on_a_terminal_the_table_is_live_and_ctrl_c_ends_the_watching_alone(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(verb, "make_console", lambda: Console(file=screen, force_terminal=True, width=100))
    assert main(["watch", str(sweep)]) == 0
    assert "1    stopped" in screen.getvalue()
    assert capsys.readouterr().out.startswith("next:\n")

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(verb, "time", SimpleNamespace(sleep=interrupt))
    with ExitStack() as stack:
        working(sweep, stack)
        assert main(["watch", str(sweep)]) == 0
    assert capsys.readouterr().out == "no longer watched; what runs goes on\n"


def test_a_run_of_its_own_is_watched_too(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", a_record("running", test=None, val=None, config=config() | TESTS))
    write_progress(run, replace(HALF, phase="test", done=500, total=1000, step=600))
    with hold_lock(run / ".lock"):
        look = Watched(find(run)[0]).look()
        text = format_watched(find(run)[0], look)
    assert ": 1 running, about 10 s left\n" in text
    assert "test 500/1,000" in text
    assert "not known yet" in format_watched(find(run)[0], look._replace(seconds_left=None))


def test_a_sweep_between_two_jobs_is_in_use(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "sweep", "completed", "waiting").path
    (sweep / ".locks").mkdir(exist_ok=True)
    with hold_lock(sweep / ".locks" / "command-1"):
        look = Watched(find(sweep)[0]).look()
    assert look.in_use
    assert not Watched(find(sweep)[0]).look().in_use


@pytest.mark.parametrize("every", ["0", "nan", "1e9", "x"])
def test_an_impossible_pause_is_refused(sweep: Path, capsys: pytest.CaptureFixture[str], every: str) -> None:
    assert main(["watch", str(sweep), f"--every={every}"]) == 2
    assert "must be a number of seconds between 0.1 and 3600." in capsys.readouterr().err
