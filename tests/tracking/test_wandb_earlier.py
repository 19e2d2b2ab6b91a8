"""The offline folders that earlier sessions of a run left: what ``wandb sync`` makes of them, and what is read back."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metaexp.core.json_lines import METRICS_FILE, TIMINGS_FILE, encode
from metaexp.tracking.base import RunInfo
from metaexp.tracking.earlier import EARLIER_FOLDER, earlier_rows, set_earlier_aside
from metaexp.tracking.trackers import Trackers
from metaexp.tracking.wandb import WandbTracker

SETTINGS: dict[str, Any] = {
    "mode": "offline", "project": "metaexp", "entity": None, "group": None, "tags": [], "artifacts": False,
    "system_metrics": False, "timeout": 120.0, "upload_timeout": 120.0,
}  # fmt: skip


def _session(folder: Path, steps: range, resumed_at: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One session of a run, which logs ``steps``."""
    monkeypatch.delenv("WANDB_MODE", raising=False)
    trackers = Trackers(RunInfo(folder, "maml", {"seed": 0}, resumed_at=resumed_at), {"w": WandbTracker(**SETTINGS)})
    trackers.start((folder / METRICS_FILE).stat().st_size if resumed_at is not None else 0)
    for step in steps:
        trackers.scalars(step, {"train/loss": 1 / step})
        trackers.timings(step, {"time/seconds": float(step)})
    trackers.finish("completed" if steps.stop == 50 else "interrupted", {}, {})


def _sync(server: Any, *folders: Path) -> list[int]:
    """The steps of a run's losses on a server, after ``wandb sync`` of offline folders."""
    environment = {**os.environ, "WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40}
    command = [sys.executable, "-m", "wandb", "sync", *map(str, folders)]
    subprocess.run(command, env=environment, capture_output=True, check=True, timeout=300)
    return [row["step"] for run in server.runs.values() for row in run["history"] if "train/loss" in row]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("is_killed", [False, True])
def test_all_offline_folders_of_a_resumed_run_upload_it_once(
    is_killed: bool, tmp_path: Path, wandb_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("HOME", str(tmp_path))
    run, twice = tmp_path / "run", tmp_path / "twice"
    run.mkdir()
    _session(run, range(10, 30, 10), None, monkeypatch)
    wandb.teardown()
    (first,) = (run / "wandb").glob("offline-run-*")
    if is_killed:
        (content,) = first.glob("*.wandb")
        content.write_bytes(content.read_bytes()[:7])  # the header alone has reached the disk
    _session(run, range(30, 50, 10), 20, monkeypatch)
    wandb.teardown()
    folders = sorted((run / "wandb").glob("offline-run-*"))
    assert _sync(wandb_server, *folders) == [10, 20, 30, 40]
    assert [path.name for path in (run / "wandb" / EARLIER_FOLDER).iterdir()] == [first.name]
    wandb_server.runs.clear()
    twice.mkdir()  # the same folders side by side, as they would be without being set aside
    for path in (*folders, run / "wandb" / EARLIER_FOLDER / first.name):
        path.rename(twice / path.name)
        for mark in (twice / path.name).glob("*.sync*"):
            mark.unlink()
    assert _sync(wandb_server, *sorted(twice.iterdir())) != [10, 20, 30, 40]


def test_the_newest_folder_stays_in_place_and_what_cannot_be_moved_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["offline-run-1-a", "offline-run-2-a", "run-0-a", "offline-run-3-a-offline"]
    for name in names:
        (tmp_path / "wandb" / name).mkdir(parents=True)
    with caplog.at_level(logging.WARNING, "metaexp"):
        set_earlier_aside(tmp_path, tmp_path / "wandb" / "offline-run-2-a")
        assert caplog.messages == []
        (tmp_path / "wandb" / "offline-run-1-a").mkdir()
        (tmp_path / "wandb" / EARLIER_FOLDER / "offline-run-1-a" / "full").touch()
        set_earlier_aside(tmp_path, tmp_path / "wandb" / "offline-run-2-a")
    (message,) = caplog.messages
    assert "offline-run-1-a cannot be moved" in message
    earlier = sorted(path.name for path in (tmp_path / "wandb" / EARLIER_FOLDER).iterdir())
    assert earlier == ["offline-run-1-a", "offline-run-3-a-offline"]
    assert (tmp_path / "wandb" / "run-0-a").is_dir()


def test_times_of_earlier_sessions_come_with_their_metrics_and_those_after_the_checkpoint_do_not(
    tmp_path: Path,
) -> None:
    metrics, times = tmp_path / METRICS_FILE, tmp_path / TIMINGS_FILE
    metrics.write_bytes(b"".join(encode(step, {"train/loss": 0.5}) for step in (10, 20)))
    times.write_bytes(b"".join(encode(step, {"time/seconds": second}) for step, second in ((10, 1), (20, 2), (30, 3))))
    rows = [(step, list(values)) for step, values in earlier_rows(tmp_path, 20)]
    assert rows == [(10, ["train/loss"]), (10, ["time/seconds"]), (20, ["train/loss"]), (20, ["time/seconds"])]
