"""Tiny runs for sweeps and searches, of which some get into trouble, and their configuration files."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from tiny_runs import Lines, TinyMAML
from torch import Tensor

from metaexp.core.errors import DataError
from metaexp.core.types import Episode
from metaexp.data.base import MetaDataset, Progress
from metaexp.models.base import Network

FILES = {
    "algorithm/cases.yaml": "_target_: case_runs.Cases\ninner_lr: 0.1\ncase: 0\npause: 0.0\n",
    "algorithm/other_cases.yaml": "_target_: case_runs.Cases\ninner_lr: 0.05\ncase: 0\npause: 0.001\n",
    "dataset/lines.yaml": "defaults:\n  - override /task@_global_.task: regression_5shot\n"
    "  - override /model@_global_.model: net\n_target_: tiny_runs.Lines\npoison: null\nversion: a\n",
    "dataset/file_lines.yaml": "defaults:\n  - override /task@_global_.task: regression_5shot\n"
    "  - override /model@_global_.model: net\n_target_: case_runs.FileLines\nfile: lines.txt\n",
    "model/net.yaml": "_target_: tiny_runs.Net\nwidth: 8\ndropout: 0.1\n",
    "optimizer/counting.yaml": "_target_: tiny_runs.CountingAdam\nlr: 0.01\n",
}
COMMON = [
    "algorithm=cases", "dataset=lines", "optimizer=counting", "device=cpu", "tracker=files", "train.steps=12",
    "train.meta_batch_size=3", "train.eval_every=4", "train.eval_episodes=6", "train.checkpoint_every=2",
    "train.log_every=3", "eval.episodes=10",
]  # fmt: skip
TRUSTED = ("case_runs", "tiny_runs")
RESULTS = ("metrics.jsonl", "test_episodes.csv", "checkpoints/best.safetensors")


class Cases(TinyMAML):
    """TinyMAML in several cases.

    Case 5 raises, case 6 is not finite, case 7 kills its process and case 8 warns, each in step 8. The others are fine.

    Args:
        model: The network.
        inner_lr: The learning rate of the inner loop.
        case: Which case.
        pause: Seconds to sleep before each step.
    """

    def __init__(self, model: Network, inner_lr: float, case: int, pause: float) -> None:
        self.case, self.pause, self.step = case, pause, -1
        super().__init__(model, inner_lr)

    def set_progress(self, step: int, total: int) -> None:
        if step != self.step:
            time.sleep(self.pause)
        self.step = step
        if (self.case, step) == (5, 8):
            raise RuntimeError("the roof is on fire\nand more about it")
        if (self.case, step) == (7, 8):
            os.kill(os.getpid(), signal.SIGKILL)
        if (self.case, step) == (8, 8):
            logging.getLogger("metaexp.cases").warning("the roof leaks at %s", self.inner_lr)
        super().set_progress(step, total)

    def meta_loss(self, episode: Episode) -> Tensor:
        return super().meta_loss(episode) * (float("nan") if (self.case, self.step) == (6, 8) else 1.0)


class FileLines(Lines):
    """Lines that need a file in ``paths.data``, as a dataset of a user may. The word ``damaged`` in it is refused.

    Args:
        file: Its name.
    """

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        progress(f"Reading {self.file}.")
        if "damaged" in (folder / self.file).read_text():
            raise DataError(f"{self.file} is damaged. Fetch it again.")
        return super().load(folder, progress)


def result_of(folder: Path) -> dict[str, bytes]:
    """The files of a run that must be equal, byte for byte."""
    return {name: (folder / name).read_bytes() for name in RESULTS}
