"""W&B's client begins without its launch part, unless a launched job has declared inputs, and soon sees its process."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from metaexp.tracking.wandb_start import leave_launch_out, look_often

SLEEP = time.sleep


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
from metaexp.tracking.wandb_start import leave_launch_out

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

    monkeypatch.delattr(wandb.Run, "_detect_and_apply_job_inputs")
    leave_launch_out(wandb.Run)
    assert not hasattr(wandb.Run, "_detect_and_apply_job_inputs")


def test_the_tracker_leaves_it_out_and_looks_often(tmp_path: Path) -> None:
    said = run(
        """
        import json, sys
        from metaexp.cli.main import main
        code = main(["train", "dataset=glyphs", "algorithm=proto_net", "train.steps=1", "train.eval_episodes=1",
                     "eval.test=false", "device=cpu", "tracker.wandb.mode=offline", f"hydra.run.dir={sys.argv[1]}/run"])
        import time
        from wandb.sdk.lib.service import service_port_file
        launch = "wandb.sdk.launch" in sys.modules
        print(json.dumps([code, "wandb" in sys.modules, launch, service_port_file._SLEEP is time.sleep]))
        """,
        tmp_path,
    )
    assert said[-1] == [0, True, False, False]


class Ending:
    """A process that ends after three looks."""

    args: tuple[str, ...] = ()
    stdout = stderr = None

    def __init__(self) -> None:
        self.looks = 0
        self.pid = 0

    def poll(self) -> int | None:
        self.looks += 1
        return 1 if self.looks > 3 else None


def sleeps_of_client(folder: Path, monkeypatch: pytest.MonkeyPatch, waiting: ModuleType) -> list[float]:
    """For how long the client sleeps while it waits for a process that ends."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    if waiting.__dict__["_SLEEP"] is SLEEP:  # it has taken the function itself
        monkeypatch.setattr(waiting, "_SLEEP", slept.append)
    with pytest.raises(waiting.ServicePollForTokenError, match="exited with code 1"):
        waiting.poll_for_token(folder / "port", Ending(), timeout=60.0)
    return slept


def test_the_client_looks_often_for_its_process_and_by_itself_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = pytest.importorskip("wandb.sdk.lib.service.service_port_file")
    monkeypatch.setattr(waiting, "_SLEEP", SLEEP)
    with monkeypatch.context() as alone:
        assert sleeps_of_client(tmp_path, alone, waiting) == [0.2] * 3
    look_often(waiting)
    look_often(waiting)
    assert sleeps_of_client(tmp_path, monkeypatch, waiting) == [0.01] * 3


def test_the_client_gives_up_when_it_would_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = pytest.importorskip("wandb.sdk.lib.service.service_port_file")
    monkeypatch.setattr(waiting, "_SLEEP", SLEEP)
    look_often(waiting)
    clock = iter(range(100))
    monkeypatch.setattr(waiting, "_MONOTONIC", lambda: float(next(clock)))
    with pytest.raises(waiting.ServicePollForTokenError, match=r"after 5\.0 seconds"):
        waiting.poll_for_token(tmp_path / "port", SimpleNamespace(poll=lambda: None, pid=0), timeout=5.0)


@pytest.mark.parametrize("other", [None, SimpleNamespace(), SimpleNamespace(_SLEEP=print)])
def test_a_client_that_waits_otherwise_is_left_as_it_is(other: SimpleNamespace | None) -> None:
    before = dict(vars(other)) if other else {}
    look_often(other)
    assert (dict(vars(other)) if other else {}) == before
