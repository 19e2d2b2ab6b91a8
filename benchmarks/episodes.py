"""How many Omniglot episodes a second are made and delivered as float32, in batches, by one process.

Drawn, gathered from the uint8 examples, turned (one of four per class and task) and converted; beside them, the
time in which the machine merely writes as many floats (the limit). Uses the real Omniglot where it lies in
METAEXP_DATA or the cache, else random images of its size; the time does not depend on what they show.
`python benchmarks/episodes.py [--batch 256] [--rounds 15] [--threads N] [--device cpu] [--output FILE]`
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from timing import machine, quartiles, save

from metaexp.core.shapes import TaskShape
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.preprocessing import Origin, Pixels, Rotations
from metaexp.data.files.archives import first_existing
from metaexp.data.files.class_lists import class_lists
from metaexp.data.omniglot import DRAWINGS, PARTS, Omniglot
from metaexp.machine.device import raise_malloc_thresholds

SHAPES = {
    "5-way 1-shot, 1 query": TaskShape(5, 1, 1),
    "5-way 1-shot, 15 queries": TaskShape(5, 1, 15),
    "5-way 5-shot, 5 queries": TaskShape(5, 5, 5),
    "20-way 1-shot, 1 query": TaskShape(20, 1, 1),
    "60-way 1-shot, 5 queries": TaskShape(60, 1, 5),
}


def main(arguments: list[str] | None = None) -> int:
    """Run and print; exit code 0."""
    parser = argparse.ArgumentParser(prog="python benchmarks/episodes.py", description=__doc__)
    parser.add_argument("--batch", type=int, default=256, help="episodes asked for at once (20-way and 60-way: fewer)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, help="torch threads; default: torch's own choice")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    raise_malloc_thresholds()
    data = omniglot().to(torch.device(options.device))
    print(f"{'':28s}{'episodes/s':>12s}{'quartiles':>22s}{'draw only':>12s}{'write limit':>13s}{'images/s':>12s}")
    results = {}
    for name, shape in SHAPES.items():
        batch = max(1, options.batch * 5 // max(shape.n_way, 5))
        results[name] = row = measure(data, shape, batch, options.rounds)
        middle_half = f"{row['low']:.0f} to {row['high']:.0f}"
        images = row["episodes_per_second"] * (shape.n_support + shape.n_queries)
        print(
            f"{name:28s}{row['episodes_per_second']:12.0f}{middle_half:>22s}{row['draws_per_second']:12.0f}"
            f"{row['limit_per_second']:13.0f}{images:12.0f}"
        )
    print(f"threads: {machine()['threads']}, device: {options.device}")
    if options.output:
        save(options.output, "episodes", results, batch=options.batch, rounds=options.rounds, device=options.device)
    return 0


def omniglot() -> ClassDataset:
    """The real one where it is at hand, else random images of its size."""
    folder = Path(os.environ.get("METAEXP_DATA", "data"))
    dataset = Omniglot("maml", "per_class", "all", 28, "nearest", True, None)
    if all(first_existing([folder, folder / "omniglot"], [f"{part.name}.zip", part.name]) for part in PARTS):
        data = dataset.load(folder, print)
        assert isinstance(data, ClassDataset)
        return data
    print(f"Omniglot is not in {folder}: random images of its size instead.")
    splits = class_lists("omniglot_maml")
    classes = {name: DRAWINGS for names in splits.values() for name in names}
    images = torch.randint(0, 256, (len(classes) * DRAWINGS, 1, 28, 28), dtype=torch.uint8)
    return ClassDataset(
        Origin("random images", "0" * 64), images, classes, splits, Pixels(True), Rotations("per_class")
    )


def measure(data: ClassDataset, shape: TaskShape, batch: int, rounds: int) -> dict[str, float]:
    """Rates a second over batches of ``batch`` episodes that were never asked for before."""
    tasks = data.tasks(shape, seed=0)
    batches = itertools.count()
    n_images = batch * (shape.n_support + shape.n_queries)

    def indices() -> torch.Tensor:
        return torch.arange(batch, device=data.device) + batch * next(batches)

    made, drawn, written = [], [], []
    for _ in range(rounds):
        made.append(rate(lambda: tasks.episodes("train", indices()), batch, data.device))
        drawn.append(rate(lambda: tasks.draw("train", indices()), batch, data.device))
        written.append(rate(lambda: torch.ones(n_images, *data.input_shape, device=data.device), batch, data.device))
    low, middle, high = quartiles(made)
    return {
        "episodes_per_second": middle,
        "low": low,
        "high": high,
        "draws_per_second": statistics.median(drawn),
        "limit_per_second": statistics.median(written),
        "batch": batch,
    }


def rate(run: Callable[[], object], batch: int, device: torch.device, at_least_s: float = 0.1) -> float:
    """Episodes a second of calls to ``run``, for at least ``at_least_s`` seconds after one to warm up."""
    run()
    calls, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < at_least_s:
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        calls += 1
    return calls * batch / elapsed


if __name__ == "__main__":
    import sys

    raise SystemExit(main(sys.argv[1:]))
