"""The table of test episodes in W&B: the real client, offline and against a stand-in server on loopback."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import metaexp as mx
from metaexp.core.json_lines import METRICS_FILE
from metaexp.results.episodes import table_of_episodes
from metaexp.tracking import wandb_files
from metaexp.tracking.base import RunInfo
from metaexp.tracking.trackers import Trackers
from metaexp.tracking.wandb import WandbTracker

wandb = pytest.importorskip("wandb")

SETTINGS: dict[str, Any] = {
    "mode": "offline", "project": "metaexp", "entity": None, "group": None, "tags": [], "artifacts": False,
    "system_metrics": False, "timeout": 120.0, "upload_timeout": 120.0,
}  # fmt: skip
COLUMNS = ["episode", "domain", "accuracy"]


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name in ("API_KEY", "MODE", "PROJECT", "ENTITY", "RUN_GROUP", "TAGS", "NAME", "RUN_ID", "RESUME", "SWEEP_ID"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.setattr(wandb_files, "_OWNERS", {})
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.fixture
def online(wandb_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", wandb_server.url)
    return wandb_server


def _log(folder: Path, rows: list[list[Any]], **keys: Any) -> Path:
    folder.mkdir()
    trackers = Trackers(RunInfo(folder, "a run", {}), {"wandb": WandbTracker(**{**SETTINGS, **keys})})
    trackers.start()
    if rows:
        trackers.table("test_episodes", COLUMNS, rows)
    trackers.finish("completed", {"test/accuracy": 0.5}, {})
    wandb.teardown()
    return folder


def _tables(folder: Path) -> list[Any]:
    """The tables among the client's files of a run."""
    return [json.loads(path.read_text()) for path in sorted((folder / "wandb").glob("*run-*/files/media/table/*"))]


def test_a_table_is_in_the_files_of_an_offline_run_and_nowhere_else(tmp_path: Path) -> None:
    rows = [[0, "old", 0.25], [1, "new", 1 / 3], [2, "new", float("inf")]]
    (table,) = _tables(_log(tmp_path / "run", rows))
    assert table["columns"] == COLUMNS
    assert table["data"] == [[0, "old", 0.25], [1, "new", 1 / 3], [2, "new", None]]
    assert _tables(_log(tmp_path / "without", [])) == []
    assert list((tmp_path / "home").rglob("*")) == []


def test_a_long_table_is_cut_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaexp.tracking.tables.MOST_ROWS", 100)  # of 10,000, the client takes seconds
    with caplog.at_level(logging.INFO, "metaexp"):
        (table,) = _tables(_log(tmp_path / "run", [[row, "old", 0.5] for row in range(103)]))
    assert [row[0] for row in table["data"]] == list(range(100))
    assert "trackers show the first 100 of the 103 rows of test_episodes" in caplog.messages
    caplog.clear()
    with caplog.at_level(logging.INFO, "metaexp"):
        (table,) = _tables(_log(tmp_path / "other", [[row, "old", 0.5] for row in range(100)]))
    assert len(table["data"]) == 100
    assert not [message for message in caplog.messages if "trackers show" in message]


def test_a_table_arrives_at_the_server(tmp_path: Path, online: Any) -> None:
    folder = _log(tmp_path / "run", [[0, "old", 0.25]], mode="online")
    (run,) = online.runs.values()
    sent = [row["test_episodes"] for row in run["history"] if "test_episodes" in row]
    assert [(table["ncols"], table["nrows"]) for table in sent] == [(3, 1)]
    assert json.loads(online.files[sent[0]["path"]])["data"] == [[0, "old", 0.25]]
    assert run["summary"]["test/accuracy"] == 0.5
    assert [artifact["input"]["artifactTypeName"] for artifact in online.artifacts] == ["run_table"]
    assert len(_tables(folder)) == 1


@pytest.mark.timeout(300)
def test_a_table_is_not_lost_where_the_server_has_gone_away(
    tmp_path: Path, online: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = WandbTracker(**{**SETTINGS, "mode": "online", "upload_timeout": 600.0})
    tracker.start(RunInfo(tmp_path, "a run", {}))
    online.silent = True
    tracker.table("test_episodes", COLUMNS, [[0, "old", 0.25]])
    tracker.finish("completed", {}, {})
    assert [message for message in caplog.messages if "not all was uploaded" in message and "wandb sync" in message]
    wandb.teardown()
    (table,) = _tables(tmp_path)
    assert table["data"] == [[0, "old", 0.25]]
    (written,) = (tmp_path / "wandb").glob("run-*-*/*.wandb")
    assert b"test_episodes" in written.read_bytes()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("is_silent", [True, False])
def test_an_artifact_waits_for_no_server_that_has_gone_away(
    is_silent: bool, tmp_path: Path, online: Any, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / "curve.txt"
    kept.write_text("a curve")
    tracker = WandbTracker(**{**SETTINGS, "mode": "online", "artifacts": True, "upload_timeout": 600.0})
    tracker.start(RunInfo(tmp_path, "a run", {}))
    online.silent = is_silent
    tracker.scalars(10, {"train/loss": 0.1})
    tracker.finish("completed", {}, {"curve": kept})
    said = [message for message in caplog.messages if "it has no artifact of the run" in message]
    assert len(said) == is_silent
    assert [found["input"]["artifactTypeName"] for found in online.artifacts] == ([] if is_silent else ["run"])


@pytest.mark.usefixtures("no_figures")
def test_the_table_of_a_run_is_what_its_folder_has_and_changes_no_number(tmp_path: Path) -> None:
    small = [
        "algorithm=maml", "algorithm.inner_steps=1", "algorithm.inner_steps_test=2", "model=mlp", "model.hidden=[8]",
        "dataset.train_classes=8",
        "dataset.val_classes=5", "dataset.test_classes=5", "dataset.per_class=6", "train.steps=2",
        "train.eval_every=2", "train.eval_episodes=4", "eval.episodes=6", "device=cpu", "device.threads=1",
        "eval.metrics=[nll]",
    ]  # fmt: skip
    run = mx.train(*small, "tracker=wandb", "tracker.wandb.system_metrics=false", folder=tmp_path / "run")
    wandb.teardown()
    (table,) = _tables(run.folder)
    assert table["columns"] == ["episode", "accuracy", "nll", *(f"accuracy_after_{step}" for step in range(3))]
    with (run.folder / "test_metrics.csv").open(newline="") as file:
        nll = [float(row["nll"]) for row in csv.DictReader(file)]
    steps = zip(*run.test_episodes, strict=True)
    final = run.test_episodes[-1]
    expected = [[e, final[e], nll[e], *after] for e, after in enumerate(steps)]
    assert table["data"] == expected
    assert len({row[1] for row in expected}) > 1, "rows could be exchanged unseen"
    plain = mx.train(*small, "tracker=files", folder=tmp_path / "plain")
    assert (plain.folder / METRICS_FILE).read_bytes() == (run.folder / METRICS_FILE).read_bytes()
    assert not (plain.folder / "wandb").exists()


def test_the_table_names_the_dataset_of_an_episode_only_in_a_mixture_and_steps_only_where_there_are_any() -> None:
    columns, rows = table_of_episodes("mse", [[1.0, 2.0], [0.5, 0.25]], {"mae": [3.0, 4.0]}, ["old", "new"])
    assert columns == ["episode", "domain", "mse", "mae", "mse_after_0", "mse_after_1"]
    assert rows == [[0, "old", 0.5, 3.0, 1.0, 0.5], [1, "new", 0.25, 4.0, 2.0, 0.25]]
    columns, rows = table_of_episodes("accuracy", [[0.5, 0.75]])
    assert columns == ["episode", "accuracy"]
    assert rows == [[0, 0.5], [1, 0.75]]
