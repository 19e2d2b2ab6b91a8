"""Whole sweeps of a tiny family: a failed job does not stop the others, and the same command continues."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import case_runs
import pytest
from events import once
from rich.console import Console

from metaexp.cli.plan import main as plan
from metaexp.core.errors import RunFolderError
from metaexp.machine.signals import Interrupted
from metaexp.results.record import read_record
from metaexp.run.progress import Lines
from metaexp.sweep.folder import create
from metaexp.sweep.prepare import prepare
from metaexp.sweep.run import run_all, sweep_command

CONF = Path("conf")


class RecordingDisplay(Lines):
    """A display that keeps its lines and sends signals, SIGTERM by default, to this process at a given one."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True))
        self.lines: list[str] = []
        self.at = ""
        self.signals: tuple[signal.Signals, ...] = (signal.SIGTERM,)

    def print_line(self, text: str) -> None:
        self.lines.append(text)
        if self.at and text.startswith(self.at):
            self.at = ""
            for number in self.signals:
                os.kill(os.getpid(), number)


def sweep_folder() -> Path:
    (folder,) = Path("outputs/sweeps").iterdir()
    return folder


def folder_of(number: int) -> Path:
    (folder,) = sweep_folder().glob(f"{number:03d}-*")
    return folder


def journal(folder: Path, event: str) -> list[int]:
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines() if line]
    return [line["job"] for line in lines if line["event"] == event]


def test_of_six_jobs_three_end_badly_and_cost_only_themselves(
    family: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    display = RecordingDisplay()
    overrides = [*family.COMMON, "algorithm.case=0,1,5,6,7,2"]
    assert run_all([*overrides, "sweep.n_jobs=2"], CONF, "config", display) == 10
    out = capsys.readouterr().out
    rows = {line.split()[0]: line for line in out.splitlines() if line.startswith("   ")}
    assert "3 of 6 jobs completed, 2 failed, 1 killed" in out
    assert "FAILED, RuntimeError: the roof is on fire" in rows["2"]
    assert "FAILED, NotFiniteError: " in rows["3"]
    assert "KILLED, its process was killed by SIGKILL" in rows["4"]
    assert all("test mse" in rows[number] for number in "015")
    assert f"log: {folder_of(2) / 'output.log'}" in out
    assert "Traceback" in (folder_of(2) / "output.log").read_text()
    assert (sweep_folder() / "table.txt").read_text().strip() in out
    assert len([line for line in display.lines if line.startswith("job ")]) == 6
    records = [read_record(folder_of(number)) for number in range(6)]
    assert [record.status for record in records].count("completed") == 3
    assert {record.group for record in records} == {sweep_folder().name}

    # Again: what is finished is kept, what would end the same way is left, the others are tried from where they were.
    assert run_all(overrides, CONF, "config", display) == 10
    started = journal(sweep_folder(), "begins")
    assert sorted(started) == [0, 1, 2, 2, 3, 4, 4, 5]
    assert "3 of 6 jobs completed (3 before), 2 failed, 1 killed" in capsys.readouterr().out
    assert "continues after step " in (folder_of(2) / "run.log").read_text()


def test_a_failed_job_is_retried_at_once_or_stops_the_sweep(family: ModuleType) -> None:
    display = RecordingDisplay()
    retry = [*family.COMMON, "algorithm.case=5,6,0", "sweep.on_error=retry", "sweep.retries=1"]
    assert run_all(retry, CONF, "config", display) == 10
    assert journal(sweep_folder(), "begins") == [0, 1, 2, 0]
    assert len([line for line in display.lines if "it is tried again (attempt 2)" in line]) == 1

    stop = [*family.COMMON, "algorithm.case=5,0,1", "sweep.on_error=stop", "hydra.sweep.dir=stopped"]
    assert run_all(stop, CONF, "config", display) == 10
    assert journal(Path("stopped"), "begins") == [0]


def test_a_signal_stops_the_running_jobs_and_the_same_command_goes_on(
    family: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [*family.COMMON, "seed=0,1"]
    assert run_all([*overrides, "hydra.sweep.dir=undisturbed"], CONF, "config", RecordingDisplay()) == 0
    display = RecordingDisplay()
    display.at = "job 0 (seed=0)"
    with pytest.raises(Interrupted) as ended:
        run_all(overrides, CONF, "config", display)
    assert ended.value.exit_code == 143
    printed, again = capsys.readouterr().out, shlex.join(sweep_command(overrides, CONF))
    assert "not started" in printed
    assert str(ended.value).endswith(f"Continue with: {again}")
    assert again not in printed, "the command stands in the message alone"
    assert not printed.endswith("\n\n")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert run_all(overrides, CONF, "config", RecordingDisplay()) == 0
    assert sorted(set(journal(sweep_folder(), "begins"))) == [0, 1]
    assert journal(sweep_folder(), "begins").count(0) == 1
    for number in range(2):
        expected = family.result_of(next(Path("undisturbed").glob(f"{number:03d}-*")))
        assert family.result_of(folder_of(number)) == expected
    assert family.result_of(folder_of(0)) != family.result_of(folder_of(1)), "the comparison must be able to fail"


def test_a_job_that_could_not_save_is_named_when_a_sweep_is_stopped(family: ModuleType) -> None:
    for cases, saved in (
        ("5,0", ", except job 0 (algorithm.case=5) (RuntimeError: the roof is on fire). Continue with: "),
        ("0,5", ". Continue with: "),
    ):
        display = RecordingDisplay()
        display.at = "job 0 (algorithm.case="
        folder = f"of-{cases[0]}"
        with pytest.raises(Interrupted) as ended:
            run_all([*family.COMMON, f"algorithm.case={cases}", f"hydra.sweep.dir={folder}"], CONF, "config", display)
        assert str(ended.value).startswith(f"stopped by SIGTERM; the jobs that ran have saved in {folder}{saved}")


def test_a_second_sigint_ends_a_sweep_at_once_and_says_what_is_saved_and_how_to_go_on(family: ModuleType) -> None:
    overrides = [*family.COMMON, "seed=0,1"]
    display = RecordingDisplay()
    display.at = "job 0 (seed=0)"
    display.signals = (signal.SIGINT, signal.SIGINT)
    with pytest.raises(Interrupted) as ended:
        run_all(overrides, CONF, "config", display)
    assert ended.value.exit_code == 130
    command = shlex.join(sweep_command(overrides, CONF))
    assert str(ended.value) == (
        f"stopped by SIGINT at once. Completed jobs are saved in {sweep_folder()}. Those that ran go on from their "
        f"last checkpoints. Continue with: {command}"
    )
    assert run_all(overrides, CONF, "config", RecordingDisplay()) == 0
    assert journal(sweep_folder(), "begins").count(0) == 1


def test_a_running_job_saves_when_it_is_asked_to_stop(family: ModuleType) -> None:
    overrides = [*family.COMMON, "seed=0,1", "train.steps=100000"]

    parent = os.getpid()
    saved = "outputs/sweeps/*/*/checkpoints/step_*.json"  # of any job: where the first one fails, the test ends, too
    watcher = once(lambda: list(Path().glob(saved)), lambda: os.kill(parent, signal.SIGINT))
    with pytest.raises(Interrupted) as ended:
        run_all(overrides, CONF, "config", RecordingDisplay())
    os.waitpid(watcher, 0)
    assert ended.value.exit_code == 130
    record = read_record(folder_of(0))
    assert record.status == "interrupted"
    assert 0 < record.steps < 100_000
    assert not (folder_of(1) / "record.json").exists()


def test_two_invocations_at_once_share_the_jobs(family: ModuleType) -> None:
    overrides = [*family.COMMON, "seed=0,1,2,3"]
    other = os.fork()
    if other == 0:
        code = 1
        try:
            code = run_all(overrides, CONF, "config", RecordingDisplay())
        finally:
            os._exit(code)
    assert run_all(overrides, CONF, "config", RecordingDisplay()) == 0
    assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 0
    assert sorted(journal(sweep_folder(), "begins")) == [0, 1, 2, 3]
    assert sorted(journal(sweep_folder(), "completed")) == [0, 1, 2, 3]


def test_an_edited_file_changes_nothing_until_the_sweep_is_complete(family: ModuleType) -> None:
    display = RecordingDisplay()
    display.at = "job 0 (seed=0)"
    overrides = [*family.COMMON, "seed=0,1"]
    with pytest.raises(Interrupted):
        run_all(overrides, CONF, "config", display)
    path = CONF / "algorithm" / "cases.yaml"
    path.write_text(path.read_text().replace("inner_lr: 0.1", "inner_lr: 0.2"))
    assert run_all(overrides, CONF, "config", display) == 0
    text = "\n".join(display.lines)
    assert "is not complete and continues with its jobs as they were frozen" in text
    assert "algorithm.inner_lr was 0.1 and is 0.2 in job 0" in text
    assert "sweep.new=true" in text
    assert {read_record(folder_of(n)).config["algorithm"]["inner_lr"] for n in (0, 1)} == {0.1}

    assert run_all(overrides, CONF, "config", display) == 0
    first, second = sorted(Path("outputs/sweeps").iterdir())
    assert second.name == f"{first.name}_2"
    assert any("is complete, and the files have changed since" in line for line in display.lines)
    assert read_record(next(second.glob("000-*"))).config["algorithm"]["inner_lr"] == 0.2
    before = len(journal(second, "begins"))
    assert run_all(overrides, CONF, "config", display) == 0
    assert len(journal(second, "begins")) == before == 2


@pytest.mark.parametrize("name", ["record.json", "job_state.json"])
def test_a_job_with_a_damaged_file_is_named_and_the_others_run(
    family: ModuleType, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [*family.COMMON, "algorithm.case=0,1,5"]
    assert run_all(overrides, CONF, "config", RecordingDisplay()) == 10
    assert "2 of 3 jobs completed, 1 failed" in capsys.readouterr().out
    (folder_of(0) / name).write_text("{")
    before = {number: family.result_of(folder_of(number)) for number in (0, 1)}
    assert run_all(overrides, CONF, "config", RecordingDisplay()) == 10
    out = capsys.readouterr().out
    rows = {line.split()[0]: line for line in out.splitlines() if line.startswith("   ")}
    assert "1 of 3 jobs completed (1 before), 2 failed" in out
    assert "FAILED" in rows["0"]
    assert name in rows["0"]
    assert "the roof is on fire" in rows["2"]
    assert journal(sweep_folder(), "begins").count(2) == 2, "the job that failed was tried again"
    assert journal(sweep_folder(), "begins").count(1) == 1
    assert {number: family.result_of(folder_of(number)) for number in (0, 1)} == before, "nothing is written over"


def test_a_job_whose_frozen_file_was_damaged_fails_by_name_and_the_others_run(
    family: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [*family.COMMON, "algorithm.case=0,1,2,3,4"]
    prepared = prepare(overrides, CONF, "config")
    create(prepared.path, [], prepared.digest, prepared.jobs)
    cut, edited, unsigned = (folder_of(number) / "frozen.json" for number in range(3))
    whole = edited.read_text()
    cut.write_text(cut.read_text()[:200])
    edited.write_text(whole.replace('"inner_lr": 0.1', '"inner_lr": 0.2'))
    content = json.loads(unsigned.read_text())
    del content["sha256"]
    content["config"]["train"]["steps"] = 8
    unsigned.write_text(json.dumps(content))
    (folder_of(3) / "frozen.json").unlink()
    assert run_all([*overrides, "sweep.on_error=retry"], CONF, "config", RecordingDisplay()) == 10
    out = capsys.readouterr().out
    rows = {line.split()[0]: line for line in out.splitlines() if line.startswith("   ")}
    assert "1 of 5 jobs completed, 4 failed" in out
    assert "frozen.json is damaged: " in rows["0"]
    assert f"{edited} was changed after the job was frozen: its digest is " in rows["1"]
    assert f"{unsigned} was changed after the job was frozen" in rows["2"]
    assert "frozen.json is missing. Restore the file; until then this job does not run." in rows["3"]
    assert journal(sweep_folder(), "begins") == [4]

    edited.write_text(whole)
    assert run_all(overrides, CONF, "config", RecordingDisplay()) == 10
    assert "2 of 5 jobs completed (1 before), 3 failed" in capsys.readouterr().out
    assert journal(sweep_folder(), "begins") == [4, 1]


def test_a_completed_job_needs_its_frozen_file_no_more(family: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [*family.COMMON, "seed=0,1"]
    assert run_all(overrides, CONF, "config", RecordingDisplay()) == 0
    (folder_of(0) / "frozen.json").write_text("{")
    assert run_all(overrides, CONF, "config", RecordingDisplay()) == 0
    assert "2 of 2 jobs completed (2 before)" in capsys.readouterr().out


def test_a_job_whose_folder_was_removed_starts_again_while_it_is_the_same_job(
    family: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [*family.COMMON, "seed=0,1"]
    assert run_all(overrides, CONF, "config", RecordingDisplay()) == 0
    gone = folder_of(1)
    before = case_runs.result_of(gone)
    shutil.rmtree(gone)
    display = RecordingDisplay()
    planned = prepare(overrides, CONF, "config")
    assert [planned.state(job).status for job in planned.jobs] == ["completed", "waiting"]
    words = ["--config-dir", str(CONF), *(f"--trust={name}" for name in case_runs.TRUSTED), *overrides]
    assert plan(words) == 0
    printed = capsys.readouterr().out
    assert "1 job to run" in printed
    assert "# start it" in printed
    assert not gone.exists()
    assert run_all(overrides, CONF, "config", display) == 0
    assert case_runs.result_of(gone) == before
    assert f"job 1 (seed=1) starts again: {gone} was removed" in display.lines
    assert "run what is left" not in capsys.readouterr().out

    assert plan(words) == 0
    assert "# start it" not in capsys.readouterr().out
    shutil.rmtree(gone)
    file = CONF / "algorithm" / "cases.yaml"
    file.write_text(file.read_text().replace("inner_lr: 0.1", "inner_lr: 0.2"))
    assert run_all(overrides, CONF, "config", RecordingDisplay()) == 10
    out = capsys.readouterr().out
    assert f"{gone}/frozen.json is missing" in out
    assert "run what is left" not in out
    assert not gone.exists()


def test_a_sweep_whose_folder_is_moved_ends_with_one_line_and_leaves_nothing_behind(family: ModuleType) -> None:
    overrides = [*family.COMMON, "seed=0,1", "train.steps=100000"]
    here, there = Path("here"), Path("there")
    watcher = once(lambda: list(here.glob("*/checkpoints/step_*.json")), lambda: here.rename(there))
    with pytest.raises(RunFolderError, match=r"^here was moved or removed .* or add hydra\.sweep\.dir=NEW_PLACE to"):
        run_all([*overrides, "hydra.sweep.dir=here"], CONF, "config", RecordingDisplay())
    os.waitpid(watcher, 0)
    assert not here.exists()
    moved = prepare([*overrides, "hydra.sweep.dir=there"], CONF, "config")
    assert moved.sweep is not None
    assert moved.state(moved.jobs[0]).status in ("killed", "failed", "interrupted")
    assert list(there.glob("000-*/checkpoints/step_*.json")), "what it had saved is there"


class ActingDisplay(RecordingDisplay):
    """A display that does something when job 0 has ended."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__()
        self.action = action

    def print_line(self, text: str) -> None:
        super().print_line(text)
        if text.startswith("job 0"):
            self.action()


def test_a_moved_sweep_continues_in_its_new_place(family: ModuleType) -> None:
    overrides = [*family.COMMON, "seed=0,1"]
    assert run_all([*overrides, "hydra.sweep.dir=undisturbed"], CONF, "config", RecordingDisplay()) == 0
    here, there = Path("here"), Path("there")
    with pytest.raises(RunFolderError, match="here was moved or removed"):
        run_all([*overrides, "hydra.sweep.dir=here"], CONF, "config", ActingDisplay(lambda: here.rename(there)))
    assert not here.exists()
    assert run_all([*overrides, "hydra.sweep.dir=there"], CONF, "config", RecordingDisplay()) == 0
    assert journal(there, "begins") == [0, 1], "what was done is not done again"
    for number in range(2):
        found, expected = (next(place.glob(f"{number:03d}-*")) for place in (there, Path("undisturbed")))
        assert family.result_of(found) == family.result_of(expected)


def test_a_sweep_whose_folder_is_removed_ends_with_the_same_line(family: ModuleType) -> None:
    here = Path("here")
    with pytest.raises(RunFolderError, match="here was moved or removed"):
        run_all(
            [*family.COMMON, "seed=0,1", "hydra.sweep.dir=here"],
            CONF, "config", ActingDisplay(lambda: shutil.rmtree(here)),
        )  # fmt: skip
    assert not here.exists()


def test_the_command_to_give_again_has_the_users_own_files_and_packages(family: ModuleType) -> None:
    command = sweep_command(["seed=0,1", "a=b c"], Path("conf"))
    trusted = [word for package in sorted(family.TRUSTED) for word in ("--trust", package)]
    assert command == ["metaexp", "train", "-m", "--config-dir", "conf", *trusted, "seed=0,1", "a=b c"]
    assert sweep_command(["seed=0"], None, "mine")[3:5] == ["--config-name", "mine"]
    assert sweep_command(["seed=0"], None) == ["metaexp", "train", "-m", *trusted, "seed=0"]


def test_what_jobs_warn_of_is_printed_once_and_counted(family: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_NAME", "mine")
    display = RecordingDisplay()
    overrides = [*family.COMMON, "algorithm.case=8,0", "algorithm.inner_lr=0.1,0.2"]
    assert run_all(overrides, CONF, "config", display) == 0
    first = "job 0 (algorithm.case=8 algorithm.inner_lr=0.1): warning: the roof leaks at 0.1"
    assert [line for line in display.lines if "leaks" in line] == [first, "2 jobs: warning: the roof leaks at 0.1"]
    assert display.lines.index(first) < next(n for n, line in enumerate(display.lines) if "test mse" in line)
    assert "WANDB_NAME names one run and is not used: each job of a sweep has a name of its own" in display.lines
