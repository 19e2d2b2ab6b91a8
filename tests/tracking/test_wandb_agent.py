"""The real ``wandb sweep`` and ``wandb agent`` on a file of ``metaexp wandb-sweep``, against the stand-in server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sampling import only_exhaustive

from metaexp.results.record import read_record

pytest.importorskip("wandb")

TINY = [
    "model=mlp", "dataset.train_classes=8", "dataset.val_classes=5", "dataset.test_classes=5", "dataset.per_class=4",
    "task.n_query=2", "train.steps=2", "train.eval_every=1", "train.eval_episodes=4", "device=cpu",
]  # fmt: skip
VARIED = ["algorithm.inner_lr=tag(log, interval(1e-5, 1))", "model.hidden=[8],[16,8]", "algorithm=maml,anil"]


@only_exhaustive
@pytest.mark.slow
def test_an_agent_runs_the_file_as_it_is_and_its_run_joins_the_sweep(wandb_server: Any, tmp_path: Path) -> None:
    """Offline by default, the run is online under an agent, with the point's values, judged by validation alone."""
    folder = Path(sys.executable).parent
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment |= {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": wandb_server.url, "HOME": str(tmp_path)}
    environment |= {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path)}

    def call(*words: str) -> str:
        command = [sys.executable, "-m", *words]
        ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    call("metaexp", "wandb-sweep", *TINY, *VARIED)
    assert "Run sweep agent with: wandb agent someone/metaexp/sweep1" in " ".join(
        call("wandb", "sweep", "sweep.yaml").split()
    )
    assert set(wandb_server.sweep["parameters"]) == {"algorithm.inner_lr", "model.hidden", "algorithm"}
    wandb_server.proposed = [{"algorithm.inner_lr": 1e-05, "model.hidden": "[16,8]", "algorithm": "anil"}]
    call("wandb", "agent", "someone/metaexp/sweep1")

    ((identity, run),) = wandb_server.runs.items()
    (made,) = (tmp_path / "outputs").iterdir()
    record = read_record(made)
    assert identity == "swept0"
    assert run["sweep"] == "sweep1"
    assert run["exit_code"] == 0
    assert record.algorithm == "anil"
    assert record.config["algorithm"]["inner_lr"] == 1e-05
    assert record.config["model"]["hidden"] == [16, 8]
    assert record.val is not None
    assert record.test is None
    assert run["summary"]["val/accuracy"] == pytest.approx(record.val.mean), "what the sweep chooses by"
    assert not any(name.startswith("test/") for name in run["summary"])
    assert run["config"]["algorithm"]["value"] == "anil", "the sweep's own value"
    assert run["config"]["algorithm_settings"]["value"] == record.config["algorithm"]
    assert run["config"]["train"]["value"]["steps"] == 2
