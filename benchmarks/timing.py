"""Compare the speed of things that do the same work: in one process, alternating, as ratios with their spread.

A machine's speed drifts (other processes, temperature), so each round runs every candidate once and the ratio
is taken within the round; the median of those ratios and their quartiles are what is reported.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from metaexp.machine.device import device_name

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}
"""Name -> clock. The processor's seconds are those of this process, all threads together."""


def compare(
    candidates: Mapping[str, Callable[[], Any]], baseline: str, rounds: int, warmup: int = 2, clock: str = "wall"
) -> dict[str, Any]:
    """Time every candidate ``rounds`` times by a clock of :data:`CLOCKS`, alternating, and relate each to ``baseline``.

    Returns name -> {seconds: median, ratio: median of baseline / candidate within a round, low, high: quartiles};
    a ratio of 2 means twice as fast as the baseline.
    """
    for _ in range(warmup):
        for run in candidates.values():
            _timed(run, CLOCKS[clock])
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            times[name].append(_timed(run, CLOCKS[clock]))
    return {name: summary(times[baseline], taken) for name, taken in times.items()}


def _timed(run: Callable[[], Any], now: Callable[[], float]) -> float:
    start = now()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return now() - start


def summary(baseline: list[float], taken: list[float]) -> dict[str, float]:
    """Median seconds, and the ratio to ``baseline`` round by round with its quartiles."""
    low, middle, high = quartiles([b / t for b, t in zip(baseline, taken, strict=True)])
    return {"seconds": statistics.median(taken), "ratio": middle, "low": low, "high": high}


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile of a sample; its extremes if there are three values."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else [*values] * 3
    return low, middle, high


def print_table(title: str, results: Mapping[str, Mapping[str, float]], baseline: str) -> None:
    """One line per candidate."""
    print(f"\n{title}")
    print(f"{'':32s}{'median':>12s}{'times as fast as ' + baseline:>44s}")
    for name, row in results.items():
        spread = f"{row['ratio']:.2f}  (quartiles {row['low']:.2f} to {row['high']:.2f})"
        print(f"{name:32s}{row['seconds'] * 1000:9.1f} ms{spread:>44s}")


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "processor": device_name(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def save(path: Path, name: str, results: Mapping[str, Any], **about: Any) -> None:
    """Write a benchmark's record as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"benchmark": name, "machine": machine(), **about, "results": results}, indent=2) + "\n")
    print(f"\nwritten: {path}")
