"""The real MLflow client, with a database in a file, read back with the client; and servers that do not answer."""

from __future__ import annotations

import logging
import math
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.core.json_lines import METRICS_FILE, encode
from metaexp.tracking import mlflow as module
from metaexp.tracking.base import RunInfo
from metaexp.tracking.mlflow import MlflowTracker
from metaexp.tracking.trackers import Trackers

needs_mlflow = pytest.mark.skipif(
    not module.find_spec("mlflow"), reason="needs the package mlflow: pip install 'mlflow>=3,<4'"
)
CONFIG = {"algorithm": {"inner_lr": 0.4, "sizes": [1, 2]}, "seed": 0, "note": "x" * 600}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of MLflow in the environment, and an empty current folder."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database of MLflow without runs, which takes seconds to make."""
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    module._open_client(f"sqlite:///{path}").search_experiments()
    return path.read_bytes()


@pytest.fixture
def uri(tmp_path: Path, empty_store: bytes) -> str:
    (tmp_path / "mlflow.db").write_bytes(empty_store)
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def tracker(uri: str, **settings: Any) -> MlflowTracker:
    """A tracker that sends every step at once, unless told otherwise."""
    defaults: dict[str, Any] = {"experiment": "metaexp", "artifacts": False, "flush_seconds": 0.0, "timeout": 600.0}
    return MlflowTracker(uri, **(defaults | settings))


def run_info(folder: Path, **about: Any) -> RunInfo:
    folder.mkdir(exist_ok=True)
    return RunInfo(folder, "a run", CONFIG, **about)


def log_steps(view: MlflowTracker, run: RunInfo, steps: range, outcome: Any = "completed") -> None:
    view.start(run)
    for step in steps:
        view.scalars(step, {"train/loss": step / 8})
    view.finish(outcome, {}, {})


def runs(uri: str, experiment: str = "metaexp") -> list[Any]:
    """The runs of an experiment in a store, as its own client finds them."""
    client = module._open_client(uri)
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id])) if found else []


def history(uri: str, name: str = "train/loss") -> list[tuple[int, float]]:
    (run,) = runs(uri)
    return [
        (metric.step, metric.value) for metric in module._open_client(uri).get_metric_history(run.info.run_id, name)
    ]


@needs_mlflow
def test_numbers_are_read_back_at_their_steps(tmp_path: Path, uri: str) -> None:
    log_steps(tracker(uri), run_info(tmp_path / "run"), range(3))
    assert history(uri) == [(0, 0.0), (1, 0.125), (2, 0.25)]
    (run,) = runs(uri)
    assert (run.info.run_name, run.info.status) == ("a run", "FINISHED")


@needs_mlflow
def test_a_run_has_its_parameters_facts_group_tags_and_notes(tmp_path: Path, uri: str) -> None:
    about = {"group": "a sweep", "tags": ("wide", "baseline"), "notes": "A first try.", "facts": {"n_parameters": 7}}
    about["choices"] = {"algorithm": "maml"}
    log_steps(tracker(uri), run_info(tmp_path / "run", **about), range(1))
    (run,) = runs(uri)
    parameters = run.data.params
    assert parameters["algorithm.inner_lr"] == "0.4"
    assert parameters["algorithm.sizes"] == "[1, 2]"
    assert parameters["choices.algorithm"] == "maml"
    assert parameters["facts.n_parameters"] == "7"
    assert parameters["note"] == "x" * 497 + "..."
    assert run.data.tags["group"] == "a sweep"
    assert run.data.tags["tags"] == "wide, baseline"
    assert run.data.tags["mlflow.note.content"] == "A first try."
    text = Path(run.info.artifact_uri.removeprefix("file://"), "config.yaml").read_text()
    assert "x" * 600 in text  # the file has what a parameter has no room for


@needs_mlflow
def test_figures_files_and_the_summary_are_kept_beside_the_database(tmp_path: Path, uri: str) -> None:
    (tmp_path / "a.png").write_bytes(b"a figure")
    (tmp_path / "record.json").write_text("{}")
    view = tracker(uri, artifacts=True)
    view.start(run_info(tmp_path / "run"))
    view.scalars(7, {"train/loss": 1.0})
    view.figure("a", tmp_path / "a.png")
    view.finish("completed", {"test/accuracy": 0.75}, {"record.json": tmp_path / "record.json"})
    (run,) = runs(uri)
    kept = Path(run.info.artifact_uri.removeprefix("file://"))
    assert kept.is_relative_to(tmp_path / "mlflow-files")
    assert (kept / "plots" / "a.png").read_bytes() == b"a figure"
    assert (kept / "record.json").is_file()
    assert history(uri, "summary/test/accuracy") == [(7, 0.75)]
    assert list(Path().iterdir()) == []  # the current folder stays as it was


@needs_mlflow
def test_names_that_mlflow_refuses_and_numbers_that_are_not_finite_are_shown(tmp_path: Path, uri: str) -> None:
    view = tracker(uri)
    view.start(run_info(tmp_path / "run"))
    view.scalars(1, {"test/accuracy (top 5), %": math.nan})
    view.finish("completed", {}, {})
    ((step, value),) = history(uri, "test/accuracy _top 5__ _")
    assert step == 1
    assert math.isnan(value)


@needs_mlflow
@pytest.mark.parametrize(("outcome", "status"), [("failed", "FAILED"), ("interrupted", "KILLED")])
def test_a_resumed_run_goes_on_in_the_same_mlflow_run(tmp_path: Path, uri: str, outcome: str, status: str) -> None:
    log_steps(tracker(uri), run_info(tmp_path / "run", notes="mine"), range(1, 6), outcome)
    (run,) = runs(uri)
    assert run.info.status == status
    resumed = run_info(tmp_path / "run", resumed_at=3)
    view = tracker(uri)
    view.start(resumed)
    (run,) = runs(uri)
    assert run.info.status == "RUNNING"
    for step in range(4, 8):
        view.scalars(step, {"train/loss": step / 8})
    view.finish("completed", {}, {})
    (run,) = runs(uri)
    assert run.info.status == "FINISHED"
    assert history(uri) == [(step, step / 8) for step in range(1, 8)]  # each step once
    log_steps(tracker(uri), run_info(tmp_path / "another"), range(1))  # without an id it is another run
    assert len(runs(uri)) == 2


@needs_mlflow
def test_what_a_killed_process_had_not_sent_is_sent_when_the_run_goes_on(tmp_path: Path, uri: str) -> None:
    folder = tmp_path / "run"
    lazy = tracker(uri, flush_seconds=3600.0)
    lazy.start(run_info(folder))
    for step in (1, 2, 3):
        lazy.scalars(step, {"train/loss": step / 8})
    (run,) = runs(uri)
    assert "train/loss" not in run.data.metrics  # it waits, and the process ends here
    (folder / METRICS_FILE).write_bytes(b"".join(encode(step, {"train/loss": step / 8}) for step in (1, 2, 3)))
    log_steps(tracker(uri), run_info(folder, resumed_at=3), range(4, 6))
    assert history(uri) == [(step, step / 8) for step in range(1, 6)]


@needs_mlflow
def test_a_run_that_the_store_no_longer_has_is_a_new_one_with_all_its_numbers(
    tmp_path: Path, uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    log_steps(tracker(uri), run_info(folder), range(1, 4))
    first = runs(uri)[0].info.run_id
    (folder / METRICS_FILE).write_bytes(b"".join(encode(step, {"train/loss": step / 8}) for step in (1, 2, 3)))
    module._open_client(uri).delete_run(first)
    with caplog.at_level(logging.WARNING):
        log_steps(tracker(uri), run_info(folder, resumed_at=3), range(4, 5))
    assert f"run {first} was deleted in MLflow" in caplog.text
    assert history(uri) == [(step, step / 8) for step in range(1, 5)]
    (folder / "mlflow" / "run-id").write_text("0" * 32)
    with caplog.at_level(logging.WARNING):
        log_steps(tracker(uri), run_info(folder, resumed_at=3), range(4, 5))
    assert f"MLflow has no run {'0' * 32}" in caplog.text
    assert len(runs(uri)) == 2


@needs_mlflow
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text("../../etc"),
        lambda path: path.write_text("") and None,
        lambda path: (path.unlink(), path.symlink_to("/etc/hostname")),
    ],
)
def test_a_damaged_id_is_named(tmp_path: Path, uri: str, damage: Callable[[Path], object]) -> None:
    run = run_info(tmp_path / "run")
    log_steps(tracker(uri), run, range(1))
    damage(tmp_path / "run" / "mlflow" / "run-id")
    with pytest.raises(RunFolderError, match="run-id"):
        tracker(uri).start(run_info(tmp_path / "run", resumed_at=1))


@needs_mlflow
def test_the_environment_comes_before_the_keys(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "of the environment")
    log_steps(tracker("sqlite:///elsewhere.db"), run_info(tmp_path / "run"), range(1))
    assert len(runs(uri, "of the environment")) == 1
    assert not Path("elsewhere.db").exists()


_PROCESS = """
import sys
from pathlib import Path
seen = []
def note(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        seen.append(args)
sys.addaudithook(note)
from metaexp.tracking.base import RunInfo
from metaexp.tracking.mlflow import MlflowTracker
assert "mlflow" not in sys.modules
view = MlflowTracker(sys.argv[1], "metaexp", False, 0.0, 600.0)
assert "mlflow" not in sys.modules
folder = Path(sys.argv[2])
folder.mkdir(exist_ok=True)
view.start(RunInfo(folder, "a run", {}))
for step in range(50):
    view.scalars(step, {"train/loss": 1.0})
view.finish("completed", {}, {})
print(seen)
"""


@needs_mlflow
def test_several_processes_make_a_database_and_no_connection(tmp_path: Path) -> None:
    """The client reports its use to its makers unless it runs in CI or in tests, so it runs as outside of them."""
    keep = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_CURRENT_TEST")}
    uri = f"sqlite:///{tmp_path / 'a' / 'new.db'}"
    command = [sys.executable, "-c", _PROCESS, uri]
    started = [
        subprocess.Popen(
            [*command, str(tmp_path / name)], env=keep, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for name in ("one", "two", "three", "four")
    ]
    for process in started:
        output, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        assert output == "[]\n"
        assert "INFO" not in errors
    assert [run.info.status for run in runs(uri)] == ["FINISHED"] * 4


@needs_mlflow
def test_a_server_that_does_not_answer_costs_a_bounded_time_and_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        trackers = Trackers(run_info(tmp_path / "run"), {"mlflow": tracker(uri, timeout=0.2)})
        with caplog.at_level(logging.WARNING):
            trackers.start()
            trackers.scalars(1, {"train/loss": 1.0})
            trackers.finish("completed", {}, {})
    assert f"no server answers at {uri} within 0.2 seconds" in caplog.text
    assert (tmp_path / "run" / METRICS_FILE).read_bytes() == encode(1, {"train/loss": 1.0})


def test_a_call_that_a_server_leaves_without_answer_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: True)
    view = tracker("http://127.0.0.1:9", timeout=0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError, match="no answer from http"):
        view._bounded(lambda: socket.create_connection(silent.getsockname()).recv(1))


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        (
            "foo://x",
            "tracker.mlflow.uri='foo://x' begins with no kind of store that MLflow knows; write sqlite:///FILE",
        ),
        ("", "tracker.mlflow.uri='' begins with no kind of store"),
        (
            "outputs/mlruns",
            "tracker.mlflow.uri='outputs/mlruns' is a folder, which MLflow no longer takes; write sqlite",
        ),
        ("file:mlruns", "tracker.mlflow.uri='file:mlruns' is a folder"),
        ("sqlite:mlflow.db", "tracker.mlflow.uri='sqlite:mlflow.db' names no file; write sqlite:///FILE, for instance"),
        ("sqlite:///", "tracker.mlflow.uri='sqlite:///' names no file"),
    ],
)
def test_an_address_that_mlflow_would_not_take_is_named(
    monkeypatch: pytest.MonkeyPatch, uri: str, problem: str
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: True)
    with pytest.raises(ConfigError) as caught:
        tracker(uri, experiment=" ")
    assert caught.value.problems[0].startswith(problem)
    assert caught.value.problems[1] == "tracker.mlflow.experiment=' ' is empty; give a name, for instance metaexp."
    for good in ("sqlite:///a.db", "http://localhost:5000", "postgresql+psycopg2://host/db", "databricks://profile"):
        tracker(good)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    tracker("file:mlruns")


def test_a_password_in_an_address_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "foo://me:secret@host/x")
    with pytest.raises(ConfigError, match=r"MLFLOW_TRACKING_URI='foo://\*\*\*@host/x'") as caught:
        tracker("sqlite:///a.db")
    assert "secret" not in str(caught.value)


def test_a_key_that_the_environment_replaces_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: True)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host")  # as mlflow.set_tracking_uri does
    found = tracker("sqlite:///mine.db", experiment="mine")
    assert (found.uri, found.experiment) == ("http://me:secret@host", "theirs")
    assert [
        message.partition(" is in the environment, and is taken in place of ")[::2] for message in caplog.messages
    ] == [
        ("MLFLOW_TRACKING_URI=http://***@host", "tracker.mlflow.uri=sqlite:///mine.db. Unset it to use the key."),
        ("MLFLOW_EXPERIMENT_NAME=theirs", "tracker.mlflow.experiment=mine. Unset it to use the key."),
    ]
    caplog.clear()
    tracker("http://me:secret@host", experiment="theirs")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    tracker("sqlite:///mine.db", experiment="theirs")
    assert caplog.messages == []


def test_a_missing_package_is_a_configuration_error_that_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'mlflow>=3,<4'"):
        tracker("sqlite:///a.db")
