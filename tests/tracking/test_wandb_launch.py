"""W&B's client does without its launch part, unless a launched job has declared inputs."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


def run(script: str, folder: Path) -> list[object]:
    """What a Python script prints as JSON, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(("[", "true", "false"))]


BEGIN = """
import json, os, sys
import wandb
from metaexp.tracking.wandb_launch import leave_launch_out

def begin():
    silent = wandb.Settings(silent=True, console="off", reinit="create_new", x_disable_stats=True)
    wandb.init(mode="offline", dir=sys.argv[1], project="p", settings=silent).finish()

def is_imported():
    return "wandb.sdk.launch" in sys.modules
"""


def test_a_run_begins_without_the_launch_part_and_with_the_inputs_of_a_launched_job(tmp_path: Path) -> None:
    said = run(
        BEGIN
        + """
leave_launch_out(wandb.Run)
leave_launch_out(wandb.Run)
begin()
print(json.dumps(is_imported()))
from wandb.sdk.launch.inputs import internal
applied = []
internal.StagedLaunchInputs.apply = lambda self, run: applied.append(run.project)
begin()
print(json.dumps(applied))
""",
        tmp_path,
    )
    assert said == [False, ["p"]]


def test_by_itself_the_client_imports_it_at_every_start(tmp_path: Path) -> None:
    assert run(BEGIN + "begin(); print(json.dumps(is_imported()))", tmp_path) == [True]


def test_a_client_without_that_method_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    from metaexp.tracking.wandb_launch import leave_launch_out

    monkeypatch.delattr(wandb.Run, "_detect_and_apply_job_inputs")
    leave_launch_out(wandb.Run)
    assert not hasattr(wandb.Run, "_detect_and_apply_job_inputs")


def test_the_tracker_leaves_it_out(tmp_path: Path) -> None:
    said = run(
        """
        import json, sys
        from metaexp.cli.main import main
        code = main(["train", "dataset=glyphs", "algorithm=proto_net", "train.steps=1", "train.eval_episodes=1",
                     "eval.test=false", "device=cpu", "tracker.wandb.mode=offline", f"hydra.run.dir={sys.argv[1]}/run"])
        print(json.dumps([code, "wandb" in sys.modules, "wandb.sdk.launch" in sys.modules]))
        """,
        tmp_path,
    )
    assert said[-1] == [0, True, False]
