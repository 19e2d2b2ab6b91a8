"""The most memory that each saved experiment on Omniglot and mini-ImageNet takes, in a process of its own.

Two training steps and a validation of a few tasks are run with the experiment's own settings. So the number holds for a
whole run: later steps take the memory that the first have given back. Omniglot must lie in METAEXP_DATA or the cache.
In place of mini-ImageNet there are made-up images, as many and as large as the real ones. They are drawn once, which
takes minutes, and kept in the cache.

    python benchmarks/memory.py [EXPERIMENT ...] [--threads 1] [--output FILE]
"""

from __future__ import annotations

import argparse
import re
import resource
from collections.abc import Mapping
from pathlib import Path

from own_process import experiments_parser, rows_of
from timing import save
from whole_runs import Loop

from metaexp.config.compose import Composer
from metaexp.machine.single_rank import SINGLE
from metaexp.run.build import set_up

SAVED = Path(__file__).resolve().parents[1] / "conf" / "experiment"
SETTING = re.compile(r"\w+_(omniglot|mini_imagenet)_(mlp_)?\d+way_\d+shot")
STAND_IN = ["dataset.stand_in=true", "dataset.stand_in_images=600"]
"""Made-up images in place of mini-ImageNet, 600 of each class as there."""
GOALS = {"maml_omniglot_20way_5shot": 4096.0}
"""Experiment -> the most MB that it may take."""


def main(arguments: list[str] | None = None) -> int:
    """Run and print; exit code 0."""
    saved = [path.stem for path in sorted(SAVED.glob("*.yaml")) if SETTING.fullmatch(path.stem)]
    parser = experiments_parser(__doc__, __file__, saved, threads=1, clock=None)
    options = parser.parse_args(arguments)
    rows = rows_of(options, __file__, ["threads"], measure, format_row)
    if rows and options.output:
        save(options.output, "memory", rows, goals=GOALS)
    return 0


def format_row(row: Mapping[str, float]) -> str:
    """The memory before the first step, and the most of all."""
    return f"{row['mb_before']:8.0f} MB{row['mb_peak']:8.0f} MB"


def measure(experiment: str, options: argparse.Namespace) -> dict[str, float]:
    """The memory of one experiment before its first step, and the most of all, in this process."""
    overrides = [f"experiment={experiment}", "tracker=files", "device=cpu", f"device.threads={options.threads}"]
    overrides += STAND_IN if "mini_imagenet" in experiment else []
    with set_up(Composer().settings(overrides), SINGLE, lambda _: None) as setup:
        before = peak()
        if setup.step is not None:
            Loop(setup).take(2)
        evaluator = setup.evaluator
        evaluator.validate(setup.state.algorithm, 2 * min(evaluator.chunk, 32), lambda _: None)
    return {"mb_before": before, "mb_peak": peak()}


def peak() -> float:
    """The most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    raise SystemExit(main())
