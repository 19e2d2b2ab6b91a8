"""Data that cannot be loaded are found once, before jobs start; jobs with other data run."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from metaexp.cli.plan import main as plan
from metaexp.core.errors import ConfigError, DataError, ExitCode
from metaexp.machine.forked_process import ForkedProcess, can_fork
from metaexp.machine.signals import Interrupted
from metaexp.run.progress import Lines
from metaexp.search.prepare import prepare as prepare_search
from metaexp.search.run import search
from metaexp.sweep import data_check
from metaexp.sweep.prepare import prepare
from metaexp.sweep.processes.warm_start import WarmStarter
from metaexp.sweep.run import run_all

CONF = Path("conf")
NO_FOLDER = ["algorithm=proto_net", "dataset=image_folder", "dataset.folder=nowhere", "device=cpu", "train.steps=2"]


class Recorded(Lines):
    """A display that keeps its lines."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True))
        self.lines: list[str] = []

    def print_line(self, text: str) -> None:
        self.lines.append(text)


def interrupted(stop: Callable[[], bool]) -> list[data_check.UnusableData]:
    """Send SIGINT to this process, which is then asked to stop."""
    assert not stop()
    os.kill(os.getpid(), signal.SIGINT)
    assert stop()
    return []


def of_files(family: ModuleType) -> list[str]:
    """The overrides of runs whose data are in a file."""
    data = Path("data")
    data.mkdir(exist_ok=True)
    return [*(line for line in family.COMMON if line != "dataset=lines"), "dataset=file_lines", f"paths.data={data}"]


@pytest.mark.parametrize("seeds", ["0", "0,1,2", "range(30)"])
def test_a_sweep_without_its_data_gives_one_error_and_no_folder(
    family: ModuleType, monkeypatch: pytest.MonkeyPatch, seeds: str
) -> None:
    monkeypatch.setattr(data_check, "try_out", lambda *_: pytest.fail("a process was started"))
    with pytest.raises(DataError) as raised:
        run_all([*NO_FOLDER, f"seed={seeds}"], None, "config", Recorded())
    where = "" if seeds == "0" else "every job: "
    assert str(raised.value).startswith(f"{where}dataset.folder=nowhere: there is no ")
    assert str(raised.value).count("there is no") == 1
    assert not Path("outputs").exists()


def test_a_plan_says_that_data_are_missing(family: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan([*NO_FOLDER, "seed=0,1"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("data that cannot be loaded: every job: dataset.folder=nowhere: there is no ")
    assert plan([*family.COMMON, "seed=0,1", "--config-dir", str(CONF)]) == 0
    assert "cannot be loaded" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"damaged", "lines.txt is damaged. Fetch it"),
        (None, "FileLines.load opens data/lines.txt, which is not there "),
        (b"\xff", "loading its data raises UnicodeDecodeError: "),
    ],
)
def test_a_dataset_of_a_user_that_cannot_be_loaded_is_loaded_once(
    family: ModuleType, content: bytes | None, expected: str
) -> None:
    overrides, display = of_files(family), Recorded()
    if content is not None:
        Path("data/lines.txt").write_bytes(content)
    with pytest.raises(DataError) as raised:
        run_all([*overrides, "seed=0,1,2"], CONF, "config", display)
    assert str(raised.value).startswith(f"every job: {expected}")
    assert display.lines.count("Reading lines.txt.") == 1
    assert any("Traceback" in line for line in display.lines) == (content == b"\xff"), "of a bug only"
    assert not Path("outputs").exists()
    Path("data/lines.txt").write_text("fine")
    assert run_all([*overrides, "seed=0,1,2"], CONF, "config", display) == 0


def test_jobs_with_other_data_run(family: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    overrides, display = [*of_files(family), "dataset.file=good.txt,bad.txt", "seed=0,1"], Recorded()
    Path("data/good.txt").write_text("fine")
    Path("data/bad.txt").write_text("damaged")
    assert run_all(overrides, CONF, "config", display) == ExitCode.JOBS_FAILED
    refused = [line for line in display.lines if line.startswith("not started: ")]
    names = "job 2 (dataset.file=bad.txt seed=0), job 3 (dataset.file=bad.txt seed=1)"
    assert refused == [f"not started: {names}: bad.txt is damaged. Fetch it again."]
    assert "2 of 4 jobs completed, 2 failed" in capsys.readouterr().out
    (folder,) = Path("outputs/sweeps").iterdir()
    for number in (2, 3):
        (job,) = folder.glob(f"{number:03d}-*")
        note = json.loads((job / "job_state.json").read_text())
        assert (note["status"], note["exit_code"], note["attempts"]) == ("failed", ExitCode.DATA, 0)
        assert (job / "output.log").read_text() == "bad.txt is damaged. Fetch it again.\n"
    Path("data/bad.txt").write_text("fine")
    assert run_all(overrides, CONF, "config", display) == 0
    Path("data/bad.txt").write_text("damaged")
    with pytest.raises(DataError, match="bad.txt is damaged"):
        run_all([*overrides, "sweep.on_error=stop", "sweep.new=true"], CONF, "config", display)


def test_on_error_retry_loads_data_again(family: ModuleType) -> None:
    overrides, display = [*of_files(family), "seed=0,1", "sweep.on_error=retry", "sweep.retries=2"], Recorded()
    Path("data/lines.txt").write_text("damaged")
    with pytest.raises(DataError):
        run_all(overrides, CONF, "config", display)
    assert display.lines.count("Reading lines.txt.") == 3


def test_seeds_of_one_process_without_their_data_give_one_error_and_no_folder(family: ModuleType) -> None:
    overrides, display = [*of_files(family), "train.seeds=3", "model.dropout=0"], Recorded()
    Path("data/lines.txt").write_text("damaged")
    with pytest.raises(DataError, match=r"^every job: lines\.txt is damaged\. Fetch it again\.$"):
        run_all(overrides, CONF, "config", display)
    assert display.lines.count("Reading lines.txt.") == 1
    assert not Path("outputs").exists()
    Path("data/lines.txt").write_text("fine")
    assert run_all(overrides, CONF, "config", display) == 0


def test_ctrl_c_gives_up_loading(family: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides, display = [*of_files(family), "seed=0,1"], Recorded()
    monkeypatch.setattr("metaexp.sweep.run.unusable_data", lambda *given, **_: interrupted(given[3]))
    with pytest.raises(Interrupted, match="stopped by SIGINT before a job began. Continue with: metaexp train -m "):
        run_all(overrides, CONF, "config", display)
    assert not Path("outputs").exists()


def test_a_search_without_its_data_gives_one_error_and_no_folder(family: ModuleType) -> None:
    pytest.importorskip("optuna")
    asked = [*NO_FOLDER, "optimizer.lr=interval(0.001,0.1)", "search.trials=5"]
    with pytest.raises(DataError, match=r"^dataset.folder=nowhere: there is no "):
        search(prepare_search(asked, None, "config"), asked, None)
    assert not Path("outputs").exists()


def test_configurations_that_loading_refuses_stay_wrong_configurations(family: ModuleType) -> None:
    jobs = prepare([*family.COMMON, "seed=0"], CONF, "config").jobs
    found = data_check.UnusableData(jobs, ExitCode.CONFIG, "dataset.target refuses its arguments.")
    assert isinstance(data_check.refusal([found], 1), ConfigError)
    assert isinstance(data_check.refusal([found, found._replace(code=ExitCode.DATA)], 1), DataError)


@pytest.mark.skipif(not can_fork(), reason="jobs are forked on Linux only")
def test_a_process_that_only_loads_is_forked_from_the_warm_parent(
    forked_parents: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(12):
        image = Path(f"images/{('train', 'val', 'test')[number // 4]}/class{number // 2}/{number % 2}.png")
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(b"no image")
    words = ["dataset=image_folder", f"dataset.folder={tmp_path}/images", f"paths.data={tmp_path}", "device=cpu"]
    task = ["task.n_way=2", "task.k_shot=1", "task.n_query=1"]
    forked: list[list[str]] = []
    begin = WarmStarter.fork

    def fork(starter: WarmStarter, folders: list[Path], *, only_check: bool) -> ForkedProcess | None:
        forked.append([*(folder.name for folder in folders), str(only_check)])
        return begin(starter, folders, only_check=only_check)

    monkeypatch.setattr(WarmStarter, "fork", fork)
    with pytest.raises(DataError, match=r"^every job: .*\.png"):
        run_all([*words, *task, "seed=0,1"], None, "config", Recorded())
    assert [only_check for _, only_check in forked] == ["True"]
    assert not Path("outputs").exists()
