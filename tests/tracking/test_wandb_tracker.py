"""The real W&B client, offline read back from its files and online against a stand-in server on loopback."""

from __future__ import annotations

import json
import logging
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.core.json_lines import METRICS_FILE
from metaexp.tracking import wandb_files
from metaexp.tracking.base import Outcome, RunInfo
from metaexp.tracking.earlier import EARLIER_FOLDER
from metaexp.tracking.trackers import Trackers
from metaexp.tracking.wandb import WandbTracker
from metaexp.tracking.wandb_files import run_id

wandb = pytest.importorskip("wandb")
get_core_path = pytest.importorskip("wandb.util").get_core_path

SETTINGS: dict[str, Any] = {
    "mode": "offline",
    "project": "metaexp",
    "entity": None,
    "group": None,
    "tags": ["omniglot"],
    "artifacts": False,
    "system_metrics": False,
    "timeout": 120.0,
    "upload_timeout": 120.0,
}
"""The waits are long, so that they end by what they wait for, however busy the machine is."""
CONFIG = {"algorithm": {"inner_lr": 0.4, "inner_steps": 1}, "seed": 0}


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home folder and an environment without anything of W&B, and a fresh client for every test."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name in ("API_KEY", "MODE", "PROJECT", "ENTITY", "RUN_GROUP", "TAGS", "NAME", "RUN_ID", "RESUME", "SWEEP_ID"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.delenv("WANDB_SILENT", raising=False)
    monkeypatch.setattr(wandb_files, "_OWNERS", {})
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.fixture
def log_run(tmp_path: Path) -> Callable[..., Path]:
    """Logs a short run with the given settings; returns its folder."""

    def log(outcome: Outcome = "completed", folder: str = "run", steps: range = range(10, 50, 10), **keys: Any) -> Path:
        resumed_at = keys.pop("resumed_at", None)
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        position = (path / METRICS_FILE).stat().st_size if resumed_at is not None else 0
        facts, labels = {"n_parameters": 7}, {key: keys.pop(key) for key in ("tags", "notes") if key in keys}
        labels["choices"] = keys.pop("choices", {})
        run = RunInfo(path, "maml-seed0", CONFIG, group="a-sweep", resumed_at=resumed_at, facts=facts, **labels)
        trackers = Trackers(run, {"wandb": WandbTracker(**{**SETTINGS, **keys})})
        trackers.start(position)
        for step in steps:
            trackers.scalars(step, {"train/loss": 1 / step, "val/accuracy": step / 100})
        Image.new("RGB", (8, 8)).save(path / "curve.png")
        trackers.figure("plots/curve", path / "curve.png")
        trackers.finish(outcome, {"val/accuracy": 0.3}, {"metrics": path / METRICS_FILE})
        wandb.teardown()  # waits for the client's own process, which writes the last of its files as it ends
        return path

    return log


def _offline_folders(folder: Path) -> list[Path]:
    return sorted((folder / "wandb").glob("offline-run-*"), key=lambda path: path.stat().st_mtime)


def _read(folder: Path, *options: str) -> list[Any]:
    """What `wandb leet inspect --json` says about an offline folder, one object per line, without its start-up."""
    (content,) = folder.glob("*.wandb")
    command = [get_core_path(), "leet", "inspect", *options, "--json", "--no-observability", "-run-file", str(content)]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [json.loads(text)] if options else [json.loads(line) for line in text.splitlines()]


def _summary(folder: Path) -> Any:
    return _read(folder, "--summary")[0]


def _steps(folder: Path) -> list[int]:
    rows = [record["history"]["item"] for record in _read(folder) if record["type"] == "history"]
    return [row["step"] for row in rows if "train/loss" in row]


def test_an_offline_run_reads_back_with_config_summary_and_exit_code(log_run: Callable[..., Path]) -> None:
    (folder,) = _offline_folders(log_run())
    content = _summary(folder)
    assert content["config"] == {**CONFIG, "facts": {"n_parameters": 7}}
    assert content["project"] == "metaexp"
    assert content["tags"] == ["omniglot"]
    assert content["exit_code"] == 0
    assert content["summary"]["val/accuracy"] == 0.3, "the selected checkpoint's, not the last"
    assert content["summary"]["train/loss"] == pytest.approx(1 / 40)


def test_tags_and_notes_of_a_run_come_beside_those_of_the_tracker(log_run: Callable[..., Path]) -> None:
    (folder,) = _offline_folders(log_run(tags=("baseline",), notes="A wider network."))
    content = _summary(folder)
    assert content["tags"] == ["omniglot", "baseline"]
    (notes,) = [
        record["run"]["notes"] for record in _read(folder) if record["type"] == "run" and record["run"].get("notes")
    ]
    assert notes == "A wider network."


def test_the_chosen_files_are_configuration_and_the_job_is_a_training(log_run: Callable[..., Path]) -> None:
    (folder,) = _offline_folders(log_run(choices={"algorithm": "maml", "dataset": "glyphs"}))
    config = _summary(folder)["config"]
    assert config["choices"] == {"algorithm": "maml", "dataset": "glyphs"}
    assert config["algorithm"] == CONFIG["algorithm"]
    types = {r["run"]["run"].get("job_type") for r in _read(folder) if r["type"] == "run" and "run" in r["run"]}
    types |= {r["run"].get("job_type") for r in _read(folder) if r["type"] == "run"}
    assert "train" in types


def test_home_and_working_folder_stay_clean(log_run: Callable[..., Path], tmp_path: Path) -> None:
    log_run(artifacts=True)
    assert list((tmp_path / "home").rglob("*")) == []
    assert list((tmp_path / "here").rglob("*")) == []


def test_files_are_kept_as_an_artifact_where_wanted(log_run: Callable[..., Path]) -> None:
    def artifacts(folder: Path) -> list[str]:
        found = [record["artifact"] for record in _read(_offline_folders(folder)[0]) if record["type"] == "artifact"]
        return [content["path"] for artifact in found for content in artifact["manifest"]["contents"]]

    assert artifacts(log_run(folder="with", artifacts=True)) == [METRICS_FILE]
    assert artifacts(log_run(folder="without")) == []


def test_metrics_and_random_states_are_the_same_with_and_without(log_run: Callable[..., Path]) -> None:
    def states() -> tuple[object, ...]:
        return random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()  # type: ignore[index]

    before = states()
    with_client = log_run(folder="with")
    assert states() == before
    without = log_run(folder="without", mode="disabled")
    assert (with_client / METRICS_FILE).read_bytes() == (without / METRICS_FILE).read_bytes()
    assert _offline_folders(without) == []


def test_a_job_after_one_that_never_closed_its_run_has_a_run_of_its_own(
    log_run: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "lost").mkdir()
    lost = Trackers(RunInfo(tmp_path / "lost", "lost", CONFIG), {"wandb": WandbTracker(**SETTINGS)})
    lost.start()
    (folder,) = _offline_folders(log_run("failed"))
    content = _summary(folder)
    assert content["exit_code"] == 1
    assert content["summary"]["step"] == 40
    lost.finish("failed", {}, {})


def test_the_last_offline_folder_of_a_resumed_run_holds_all_of_it(log_run: Callable[..., Path]) -> None:
    log_run("interrupted", steps=range(10, 30, 10))
    folder = log_run(steps=range(30, 50, 10), resumed_at=20)
    (last,), (first,) = _offline_folders(folder), (folder / "wandb" / EARLIER_FOLDER).iterdir()
    assert _steps(first) == [10, 20]
    assert _steps(last) == [10, 20, 30, 40]
    assert _summary(first)["run_id"] == _summary(last)["run_id"]


def test_the_environment_comes_before_the_keys(log_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    monkeypatch.setenv("WANDB_TAGS", "a,b")
    monkeypatch.setenv("WANDB_MODE", "offline")
    (folder,) = _offline_folders(log_run(mode="online"))
    content = _summary(folder)
    assert content["project"] == "theirs"
    assert content["tags"] == ["a", "b"]


def test_disabled_in_the_environment_writes_nothing(
    log_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert not (log_run() / "wandb").exists()


@pytest.fixture
def online(wandb_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stand-in server, with a key and an address for it in the environment."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", wandb_server.url)
    return wandb_server


def test_an_online_run_arrives_at_the_server(log_run: Callable[..., Path], online: Any) -> None:
    folder = log_run("failed", mode="online")
    ((identity, run),) = online.runs.items()
    assert identity == (folder / "wandb" / "run-id").read_text()
    assert [row["step"] for row in run["history"] if "train/loss" in row] == [10, 20, 30, 40]
    assert run["summary"]["val/accuracy"] == 0.3
    assert run["config"]["algorithm"]["value"] == CONFIG["algorithm"]
    assert run["exit_code"] == 1
    assert run["groupName"] == "a-sweep"
    assert _offline_folders(folder) == []


def test_a_resumed_online_run_passes_over_what_the_server_has(log_run: Callable[..., Path], online: Any) -> None:
    log_run("interrupted", mode="online")
    wandb.teardown()
    log_run(mode="online", steps=range(30, 70, 10), resumed_at=20)
    (run,) = online.runs.values()
    assert [row["step"] for row in run["history"] if "train/loss" in row] == [10, 20, 30, 40, 50, 60]
    assert run["exit_code"] == 0


def test_a_run_that_goes_on_from_another_one_uploads_that_ones_metrics_too(
    log_run: Callable[..., Path], online: Any
) -> None:
    log_run("interrupted", mode="disabled", steps=range(10, 30, 10))
    log_run(mode="online", steps=range(30, 50, 10), resumed_at=20)
    (run,) = online.runs.values()
    assert [row["step"] for row in run["history"] if "train/loss" in row] == [10, 20, 30, 40]


def test_a_run_under_a_wandb_agent_is_online(
    log_run: Callable[..., Path], online: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setenv("WANDB_RUN_ID", "given1")
    log_run()
    assert list(online.runs) == ["given1"]


def _goes_offline(folder: Path, messages: list[str], reason: str) -> None:
    (offline,) = _offline_folders(folder)
    assert _steps(offline) == [10, 20, 30, 40]
    assert [message for message in messages if reason in message and "going offline" in message]
    assert [message for message in messages if f"{offline.name}" in message and "wandb sync" in message]


def test_online_without_a_key_asks_nothing_and_goes_offline(
    log_run: Callable[..., Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    monkeypatch.setattr("getpass.getpass", lambda *_: pytest.fail("it asked"))
    with caplog.at_level(logging.INFO, "metaexp"):
        folder = log_run(mode="online")
    _goes_offline(folder, caplog.messages, "no API key")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("server", ["refuses", "never answers"])
def test_online_without_a_server_goes_offline_in_bounded_time(
    server: str, log_run: Callable[..., Path], online: Any, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    online.silent = True
    if server == "refuses":
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with caplog.at_level(logging.INFO, "metaexp"):
        folder = log_run(mode="online", timeout=1.0)
    _goes_offline(folder, caplog.messages, "cannot be reached")
    identity = (folder / "wandb" / "run-id").read_text()
    assert [message for message in caplog.messages if f"wandb sync --id {identity}" in message]


def _starts(folder: Path, **keys: Any) -> WandbTracker:
    tracker = WandbTracker(**{**SETTINGS, "mode": "online", "upload_timeout": 600.0, **keys})
    tracker.start(RunInfo(folder, "maml-seed0", CONFIG))
    return tracker


@pytest.mark.timeout(300)
@pytest.mark.parametrize("outcome", ["completed", "interrupted"])
def test_a_server_that_goes_away_holds_the_end_for_a_few_seconds_and_nothing_is_lost(
    outcome: Outcome, tmp_path: Path, online: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The upload may take 600 s, and the server stays silent for as long."""
    tracker = _starts(tmp_path)
    online.silent = True
    tracker.scalars(10, {"train/loss": 0.1})
    tracker.finish(outcome, {}, {})
    assert [message for message in caplog.messages if "not all was uploaded" in message and "wandb sync" in message]
    (folder,) = (tmp_path / "wandb").glob("run-*-*")
    assert _steps(folder) == [10]


@pytest.mark.timeout(300)
def test_a_user_who_stops_the_run_does_not_wait_for_a_slow_upload(
    tmp_path: Path, online: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The server answers questions, and takes no uploads."""
    tracker = _starts(tmp_path)
    online.takes_nothing = True
    tracker.scalars(10, {"train/loss": 0.1})
    tracker.finish("interrupted", {}, {})
    assert [message for message in caplog.messages if "not all was uploaded" in message]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("silent_from", ["start", "end"])
def test_the_process_ends_by_itself_while_the_server_stays_silent(
    silent_from: str, tmp_path: Path, online: Any
) -> None:
    script = (
        "import sys, pathlib\n"
        "from metaexp.tracking.base import RunInfo\n"
        "from metaexp.tracking.wandb import WandbTracker\n"
        f"tracker = WandbTracker(**{ {**SETTINGS, 'mode': 'online', 'timeout': 5.0, 'upload_timeout': 600.0}!r})\n"
        f"tracker.start(RunInfo(pathlib.Path({str(tmp_path)!r}), 'a', {{}}))\n"
        "print('started', flush=True); sys.stdin.readline()\n"
        "tracker.scalars(1, {'train/loss': 0.1}); tracker.finish('completed', {}, {})\n"
    )
    online.silent = silent_from == "start"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "started\n"
    online.silent = True
    child.communicate("go on\n", timeout=200)
    assert child.returncode == 0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"project": "a/b"}, r"tracker\.wandb\.project='a/b' has / in it"),
        ({"project": " "}, r"tracker\.wandb\.project=' ' is empty"),
        ({"project": "p" * 129}, r"tracker\.wandb\.project=.* has 129 characters; W&B takes 128 at most"),
        ({"entity": "some one"}, r"tracker\.wandb\.entity='some one' is not the name of a user or team"),
        ({"group": "g" * 200}, r"tracker\.wandb\.group=.* has 200 characters"),
        ({"tags": ["x", "t" * 65]}, r"tracker\.wandb\.tags has the tag 't+\.\.\.' of 65 characters; W&B takes 1 to 64"),
        ({"tags": [""]}, r"tracker\.wandb\.tags has the tag '' of 0 characters"),
    ],
)  # fmt: skip
def test_a_name_that_the_server_would_refuse_is_refused_before_the_start(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WandbTracker(**{**SETTINGS, **keys})


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("WANDB_MODE", "onlin", r"WANDB_MODE='onlin' in the environment is none of offline, online, disabled, dryrun"),
        ("WANDB_PROJECT", "a:b", r"WANDB_PROJECT='a:b' has : in it"),
        ("WANDB_TAGS", "a," + "t" * 70, r"WANDB_TAGS has the tag .* of 70 characters"),
        ("WANDB_NAME", "n" * 129, r"WANDB_NAME=.* has 129 characters"),
        ("WANDB_RUN_ID", "a/b", r"WANDB_RUN_ID='a/b' has / in it"),
        ("WANDB_RUN_ID", "a b", r"WANDB_RUN_ID='a b' has a space in it; W&B refuses : .* % a space there"),
        ("WANDB_RUN_ID", " a", r"WANDB_RUN_ID=' a' begins or ends with a space"),
    ],
)
def test_the_environment_is_checked_too(
    variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=message):
        WandbTracker(**SETTINGS)


def test_names_at_the_limit_are_taken_and_long_names_of_ours_are_cut(tmp_path: Path) -> None:
    tracker = WandbTracker(**{**SETTINGS, "project": "p" * 128, "entity": "some-team_2", "tags": ["t" * 64]})
    tracker.start(RunInfo(tmp_path, "n" * 300, CONFIG, group="g" * 300))
    tracker.finish("completed", {}, {})
    wandb.teardown()
    content = _summary(_offline_folders(tmp_path)[0])
    assert content["project"] == "p" * 128
    assert content["tags"] == ["t" * 64]


def test_an_earlier_name_of_a_mode_is_understood(log_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    assert len(_offline_folders(log_run(mode="online"))) == 1


@pytest.mark.parametrize("kind", ["link", "broken link", "long", "odd"])
def test_the_id_of_a_run_is_neither_read_nor_written_through_a_link(tmp_path: Path, kind: str) -> None:
    outside, path = tmp_path / "secret", tmp_path / "wandb" / "run-id"
    path.parent.mkdir()
    if kind == "link":
        outside.write_text("secret")
    if kind.endswith("link"):
        path.symlink_to(outside)
    else:
        path.write_text("x" * 500 if kind == "long" else "a b\x1b[2J")
    with pytest.raises(RunFolderError, match="run-id"):
        run_id(tmp_path)
    assert outside.exists() == (kind == "link")


def test_the_id_of_a_run_is_made_once(tmp_path: Path) -> None:
    for name in ("run", "other"):
        (tmp_path / name / "wandb").mkdir(parents=True)
    made = run_id(tmp_path / "run")
    assert run_id(tmp_path / "run") == made
    assert run_id(tmp_path / "other") != made


def test_an_id_of_the_environment_that_the_server_has_is_not_written_into(
    log_run: Callable[..., Path], online: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first run was another machine's, so nothing here knows of it."""
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    log_run(mode="online", folder="one", steps=range(10, 30, 10))
    monkeypatch.setattr(wandb_files, "_OWNERS", {})
    monkeypatch.setenv("XDG_CACHE_HOME", "another-machine")
    log_run(mode="online", folder="two")
    assert "WANDB_RUN_ID=given is the id of a run that W&B has already" in caplog.text
    assert [row["step"] for row in online.runs["given"]["history"] if "train/loss" in row] == [10, 20]
    (other,) = set(online.runs) - {"given"}
    assert [row["step"] for row in online.runs[other]["history"] if "train/loss" in row] == [10, 20, 30, 40]


def test_wandb_resume_lets_a_new_run_write_into_the_one_that_the_server_has(
    log_run: Callable[..., Path], online: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    monkeypatch.setenv("WANDB_RESUME", "allow")
    log_run(mode="online", folder="one", steps=range(10, 30, 10))
    log_run(mode="online", folder="two", steps=range(30, 50, 10))
    assert [row["step"] for row in online.runs["given"]["history"] if "train/loss" in row] == [10, 20, 30, 40]
    assert list(online.runs) == ["given"]
