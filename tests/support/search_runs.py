"""A tiny family of runs to search over, and its configuration files."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).parent))

from forking import fork as fork
from forking import start as start
from tiny_runs import TinyMAML
from torch import Tensor

from metaexp.core.types import Episode
from metaexp.models.base import Network

FILES = {
    "algorithm/hills.yaml": "_target_: search_runs.Hills\ninner_lr: 0.1\npause: 0.0\ncase: fine\n",
    "algorithm/plains.yaml": "_target_: search_runs.Hills\ninner_lr: 0.05\npause: 0.0\ncase: fine\n",
    "dataset/lines.yaml": "defaults:\n  - override /task@_global_.task: regression_5shot\n"
    "  - override /model@_global_.model: net\n_target_: tiny_runs.Lines\npoison: null\nversion: a\n",
    "model/net.yaml": "_target_: tiny_runs.Net\nwidth: 8\ndropout: 0.1\n",
    "optimizer/counting.yaml": "_target_: tiny_runs.CountingAdam\nlr: 0.01\n",
}
COMMON = [
    "algorithm=hills", "dataset=lines", "optimizer=counting", "device=cpu", "tracker=files", "train.steps=12",
    "train.meta_batch_size=3", "train.eval_every=4", "train.eval_episodes=6", "train.checkpoint_every=4",
    "train.log_every=3", "eval.episodes=10",
]  # fmt: skip


class Hills(TinyMAML):
    """TinyMAML that pauses so many seconds in each update, and gets into trouble in update 8 where ``case`` says so."""

    def __init__(self, model: Network, inner_lr: float, pause: float, case: str) -> None:
        self.pause, self.case, self.at = pause, case, -1
        super().__init__(model, inner_lr)

    def set_progress(self, step: int, total: int) -> None:
        if step != self.at:
            time.sleep(self.pause)
        self.at = step
        if (self.case, step) == ("raises", 8):
            raise RuntimeError("the roof is on fire\nand more about it")
        if (self.case, step) == ("dies", 8):
            os.kill(os.getpid(), signal.SIGKILL)
        super().set_progress(step, total)

    def meta_loss(self, episode: Episode) -> Tensor:
        loss = cast(Tensor, super().meta_loss(episode))
        return loss * float("nan") if (self.case, self.at) == ("blows", 8) else loss
