"""A sweep in Weights & Biases, with the real client, offline: a group, in which each job is one run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console
from sampling import only_exhaustive

from metaexp.run.progress import Lines
from metaexp.sweep.processes.job_process import start
from metaexp.sweep.run import run_all

pytest.importorskip("wandb")
get_core_path = pytest.importorskip("wandb.util").get_core_path


def logged(job: Path) -> list[dict[str, Any]]:
    """What the client wrote of a job, one for each time it was begun, in order."""
    found = []
    folders = sorted((job / "wandb").rglob("offline-run-*"), key=lambda path: path.stat().st_mtime)
    for content in (path for folder in folders for path in folder.glob("*.wandb")):
        command = [get_core_path(), "leet", "inspect", "--json", "--no-observability", "-run-file", str(content)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        records = {record["type"]: record for record in map(json.loads, text.splitlines())}
        found.append({"run": records["run"]["run"], "exit": records["exit"]["exit"].get("exit_code", 0)})
    return found


@only_exhaustive
@pytest.mark.slow
def test_a_sweep_is_a_group_and_a_job_is_one_run_with_its_exit_status(
    family: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_KEY", "MODE", "PROJECT", "ENTITY", "RUN_GROUP", "TAGS", "NAME", "RUN_ID", "SWEEP_ID"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.setenv("WANDB_SERVICE", "of a client that is gone")  # jobs have their own
    monkeypatch.setenv("WANDB_RUN_ID", "of-one-run")  # jobs have their own
    # Not forked, because this process may have been a client.
    monkeypatch.setattr("metaexp.sweep.processes.warm_start.start", start)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1] / "support"))
    overrides = [line for line in family.COMMON if not line.startswith("tracker")]
    overrides += ["tracker=wandb", "tracker.wandb.system_metrics=false", "algorithm.case=0,5"]
    for _ in range(2):  # the job that failed is begun once more
        assert run_all(overrides, Path("conf"), "config", Lines(Console(quiet=True))) == 10
    (sweep,) = Path("outputs/sweeps").iterdir()
    good, bad = (logged(path) for path in sorted(sweep.glob("[0-9]*")))
    assert [part["exit"] for part in good] == [0]
    assert [part["exit"] for part in bad] == [1, 1]
    assert {part["run"]["run_group"] for part in good + bad} == {sweep.name}
    assert len({part["run"]["run_id"] for part in bad}) == 1, "begun twice, one run"
    assert good[0]["run"]["run_id"] != bad[0]["run"]["run_id"]
    assert "of-one-run" not in {part["run"]["run_id"] for part in good + bad}
