"""The command of docs/distributed.md as it is typed: two processes started by torchrun, and by it stopped."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from sampling import size

from metaexp.results.record import read_record

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
TINY = [
    "dataset.train_classes=8", "dataset.val_classes=5", "dataset.test_classes=5", "dataset.per_class=4",
    "task.n_query=2", "model=mlp", "model.hidden=[8]", "train.steps=2", "train.meta_batch_size=3",
    "train.eval_episodes=4", "eval.episodes=4", "device=cpu",
]  # fmt: skip


PROGRAMS = [([str(ROOT / "scripts" / "train.py")], "files"), (["-m", "metaexp", "train"], "wandb")]
"""What torchrun starts, and the tracker."""


@pytest.mark.slow
@pytest.mark.parametrize(("program", "tracker"), PROGRAMS[: size(1, 2)])
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


@pytest.mark.slow
def test_torchrun_ends_a_rank_that_waits_for_one_killed_before_they_have_met(tmp_path: Path) -> None:
    script = tmp_path / "rank.sh"
    train = shlex.join([sys.executable, "-m", "metaexp", "train", *TINY, "tracker=files", f"paths.outputs={tmp_path}"])
    script.write_text(
        f'if [ "$RANK" = 0 ]; then touch started; exec {train}; fi\n'
        "while [ ! -e started ]; do sleep 0.1; done\n"
        "kill -KILL $$\n"
    )
    done = subprocess.run(
        [*TORCHRUN, "--no-python", "bash", str(script)],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1
    assert "exitcode  : -9" in done.stderr
    assert not [path for path in tmp_path.iterdir() if (path / "record.json").exists()]
