"""The command of docs/distributed.md as it is typed: two processes started by torchrun, and by it stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from metaexp.results.record import read_record

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
TINY = [
    "dataset.train_classes=8", "dataset.val_classes=5", "dataset.test_classes=5", "dataset.per_class=4",
    "task.n_query=2", "model=mlp", "model.hidden=[8]", "train.steps=2", "train.meta_batch_size=3",
    "train.eval_episodes=4", "eval.episodes=4", "device=cpu",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "tracker"), [(["-m", "metaexp", "train"], "wandb"), ([str(ROOT / "scripts" / "train.py")], "files")]
)
def test_torchrun_trains_one_run(tmp_path: Path, program: list[str], tracker: str) -> None:
    done = subprocess.run(
        [*TORCHRUN, *program, *TINY, f"tracker={tracker}", f"paths.outputs={tmp_path}"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run folder: ") == 1
    assert done.stderr.count("device: 2 ranks, each on cpu") == 1
    (folder,) = [path for path in tmp_path.iterdir() if (path / "config.yaml").exists()]
    record = read_record(folder)
    assert record.status == "completed"
    assert record.device is not None
    assert record.device.ranks == 2
    assert record.device.threads == max(1, len(os.sched_getaffinity(0)) // 2)
    assert len(list(folder.glob("wandb/offline-run-*"))) == (tracker == "wandb")
