"""Seconds to prepare data, to load them again, and episodes a second, with examples in memory and on disk.

For each dataset whose files are there, in processes of its own and with an empty cache:

* prepare: seconds of the first load, which reads or draws everything and keeps it.
* again: seconds of the second load, from the cache.
* episodes: 5-way 1-shot with 5 queries (regression: 10 and 10 examples), made a second, as float32, in batches of 16
  tasks, with the examples in memory; for data with a cache also with examples that are mapped from the disk. Both are
  measured in one process, alternating, and the ratio is taken within a round. Seconds are of the --clock: with
  processor, those that the process computed, which other processes hardly disturb.

All with one thread: on busy cores two threads wait for each other, which can take more seconds than the work.

Then a made-up set of --large GB of images of 84 x 84 pixels in colour, which stay on disk. Its memory is that which
belongs to the process alone (Pss_Anon) at its peak; pages of files, which the system drops when it needs them, do not
count. Episodes have 10 queries; cold ones are the first after the system has dropped the file. The goal: at least half
of the rate of --small GB of such images in memory, measured alternating in one process.

    python benchmarks/data.py [DATASET ...] [--data FOLDER ...] [--fonts FOLDER] [--large 8] [--small 1]
        [--clock wall|processor] [--note TEXT] [--output FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from own_memory import Peak
from own_process import in_its_own_process
from timing import CLOCKS, compare, save

from metaexp.config.classes.make import make
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.core.shapes import TaskShape
from metaexp.data.base import Dataset, MetaDataset
from metaexp.data.cache.prepared import Prepared, cached
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.preprocessing import Origin
from metaexp.data.mapped.example_file import new_examples
from metaexp.data.mapped.placement import use_placement
from metaexp.machine.device import raise_malloc_thresholds

DATASETS = {
    "omniglot": [],
    "icons": [],
    "emoji": [],
    "fonts": [],
    "glyphs": [],
    "mini_imagenet": ["dataset.stand_in=true"],
    "sinusoid": [],
}
GOAL = 0.5
BATCH = 16
PER_CLASS = 600
SIDE = 84


def main(arguments: list[str] | None = None) -> int:
    """Run and print; exit code 0."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(prog="python benchmarks/data.py", description=__doc__)
    parser.add_argument("datasets", nargs="*", default=list(DATASETS))
    parser.add_argument("--data", nargs="*", type=Path, default=[Path(os.environ.get("METAEXP_DATA", "data"))])
    parser.add_argument("--fonts", type=Path, help="the folder of fonts; default: those of the machine")
    parser.add_argument("--work", type=Path, help="where the caches are made; default: the folder for temporary files")
    parser.add_argument("--large", type=float, default=8.0, help="GB of the set that stays on disk; 0: none")
    parser.add_argument("--small", type=float, default=1.0, help="GB of the set in memory that it is compared with")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="of warm episodes")
    parser.add_argument("--note", default="", help="what the record should say of the machine, such as who shared it")
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    parser.add_argument("--here", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.here:
        name, placement, place = options.here
        print(json.dumps(measure(name, placement, place, options)))
        return 0
    print(f"{'':16s}{'prepare':>10s}{'again':>10s}{'episodes/s':>13s}{'from disk':>12s}   disk / memory (quartiles)")
    rows: dict[str, Any] = {}
    for name in options.datasets:
        with tempfile.TemporaryDirectory(dir=options.work) as folder:
            rows[name] = row = of_dataset(name, Path(folder), options)
        if row is not None:
            disk = "-" if row["disk"] is None else f"{row['disk']:.0f}"
            ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
            print(
                f"{name:16s}{row['prepare']:8.2f} s{row['again']:8.2f} s{row['memory']:13.0f}{disk:>12s}   {ratio}",
                flush=True,
            )
    large = of_large(options) if options.large else None
    if options.output:
        about = {"clock": options.clock, "batch": BATCH, "goal": GOAL, "note": options.note}
        save(options.output, "data", rows, large=large, **about)
    return 0


def of_dataset(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any] | None:
    """The row of a dataset; None, and a line, where its files are not there."""
    (folder / "data").mkdir()
    for source in options.data:
        for entry in source.iterdir() if source.is_dir() else ():
            if entry.name != "cache":
                (folder / "data" / entry.name).symlink_to(entry.absolute())
    first = measured_apart(name, "memory", folder, options)
    if first is None:
        return None
    has_cache = any((folder / "data").glob("cache/*.safetensors"))
    again = measured_apart(name, "both" if has_cache else "memory", folder, options)
    none = dict.fromkeys(("disk", "ratio", "low", "high"))
    return {"prepare": first["load"], "again": again["load"], "memory": again["warm"], **none, **again["beside"]} | {
        "mb": again["mb"]
    }


def of_large(options: argparse.Namespace) -> dict[str, Any]:
    """The numbers of the set that stays on disk, beside those of a smaller one in memory."""
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        (Path(folder) / "data").mkdir()
        small = measured_apart(f"made {options.small}", "memory", Path(folder), options)
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        (Path(folder) / "data").mkdir()
        steps = {}
        for step, placement in (("prepare", "disk"), ("again", f"disk beside {options.small}")):
            steps[step] = measured_apart(f"made {options.large}", placement, Path(folder), options)
    beside = steps["again"]["beside"]
    ratio = beside["ratio"]
    print(f"\n{options.large:g} GB on disk, {options.small:g} GB in memory")
    for name, row in {"in memory": small, "on disk, prepared": steps["prepare"], "on disk": steps["again"]}.items():
        print(
            f"{name:20s} load {row['load']:7.2f} s   cold {row['cold']:6.0f} episodes/s   warm {row['warm']:6.0f}   "
            f"own memory at most {row['peak_mb']:6.0f} MB, before {row['before_mb']:.0f} MB"
        )
    print(f"from disk / in memory: {ratio:.2f}, goal {GOAL}: {'holds' if ratio >= GOAL else 'does not hold'}")
    sizes = {"gb": options.large, "gb_in_memory": options.small}
    return {**sizes, "in_memory": small, **steps, "ratio": ratio, "low": beside["low"], "high": beside["high"]}


def measured_apart(name: str, placement: str, folder: Path, options: argparse.Namespace) -> Any:
    """What :func:`measure` finds in a process of its own; None, and a line, where it fails."""
    given = [f"--rounds={options.rounds}", f"--clock={options.clock}", "--here", name, placement, str(folder)]
    if options.fonts:
        given += ["--fonts", str(options.fonts.absolute())]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "home")}
    return in_its_own_process(name, __file__, given, environment)


def measure(name: str, placement: str, folder: str, options: argparse.Namespace) -> dict[str, Any]:
    """Load one dataset in this process, and make episodes."""
    raise_malloc_thresholds()
    load, shape = loader(name, Path(folder) / "data", options)
    files = Path(folder) / "data" / "cache"
    drop(files)
    torch.ones(1).add(1)
    placement, _, small = placement.partition(" beside ")
    with Peak() as peak, use_placement("disk" if placement == "disk" else "memory"):
        start = time.perf_counter()
        data = load()
        seconds = time.perf_counter() - start
        drop(files)
        cold, warm = rates(data, shape, files, options)
    beside: dict[str, float] = {}
    if placement == "both":
        with use_placement("disk"):
            on_disk = load()
        warm, beside = alternate(data, on_disk, shape, options)
    elif small:
        with use_placement("memory"):
            in_memory = made(float(small), Path(folder) / "data")
        _, beside = alternate(in_memory, data, shape, options)
    mb = getattr(data, "n_bytes", 0) / 1e6
    return {
        "load": seconds,
        "cold": cold,
        "warm": warm,
        "beside": beside,
        "mb": mb,
        "before_mb": peak.before,
        "peak_mb": peak.most,
    }


def loader(name: str, folder: Path, options: argparse.Namespace) -> tuple[Callable[[], MetaDataset], TaskShape]:
    """What loads a dataset, and the shape of its tasks."""
    if name.startswith("made "):
        return lambda: made(float(name.split()[1]), folder), TaskShape(5, 1, 10)
    own = [f"dataset.folder={options.fonts}"] if name == "fonts" and options.fonts else []
    settings = Composer().settings(
        [f"dataset={name}", "task.n_query=5", *DATASETS.get(name, []), *own, f"paths.data={folder}"],
        Purpose.LOOK,
    )
    description = make(settings.dataset, Dataset)  # type: ignore[type-abstract]
    shape = TaskShape(5, 1, 5) if description.kind == "classification" else TaskShape(0, 10, 10)
    return lambda: description.load(folder, lambda _: None), shape


def made(gb: float, folder: Path) -> ClassDataset:
    """A set of made-up images, prepared class by class."""
    n_classes = round(gb * 1e9 / (PER_CLASS * 3 * SIDE * SIDE))
    classes = {f"c{i:05d}": PER_CLASS for i in range(n_classes)}

    def build() -> Prepared:
        images = new_examples((n_classes * PER_CLASS, 3, SIDE, SIDE), classes)
        for i in range(n_classes):
            images[i * PER_CLASS : (i + 1) * PER_CLASS] = np.random.default_rng(i).integers(
                0, 256, (PER_CLASS, 3, SIDE, SIDE), dtype=np.uint8
            )
        return Prepared(torch.from_numpy(images), classes, "made")

    prepared = cached("made", {"gb": gb}, folder, build, lambda _: None)
    return ClassDataset(Origin("made", "made"), prepared.examples, classes, {"train": list(classes)})


def rates(data: MetaDataset, shape: TaskShape, files: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Episodes a second: of the first batches, and the median of later ones, each of episodes never made before."""
    tasks = data.tasks(shape, seed=0)
    batches = itertools.count()

    def seconds(n_batches: int, now: Callable[[], float]) -> float:
        start = now()
        for _ in range(n_batches):
            tasks.episodes("train", torch.arange(BATCH) + BATCH * next(batches))
        return now() - start

    cold = 4 * BATCH / seconds(4, CLOCKS["wall"])
    for path in files.glob("*.safetensors"):
        with path.open("rb") as file:
            while file.read(2**24):
                pass
    clock = CLOCKS[options.clock]
    seconds(4, clock)
    return cold, statistics.median(8 * BATCH / seconds(8, clock) for _ in range(options.rounds))


def alternate(
    memory: MetaDataset, disk: MetaDataset, shape: TaskShape, options: argparse.Namespace
) -> tuple[float, dict[str, float]]:
    """Episodes a second from memory, and from disk beside it, with the ratio of the two and its quartiles."""
    batches = itertools.count()

    def episodes(data: MetaDataset) -> Callable[[], None]:
        tasks = data.tasks(shape, seed=1)  # other episodes than before, whose pages are not mapped yet

        def run() -> None:
            for _ in range(8):
                tasks.episodes("train", torch.arange(BATCH) + BATCH * next(batches))

        return run

    both = {"memory": episodes(memory), "disk": episodes(disk)}
    found = compare(both, "memory", options.rounds, clock=options.clock)
    rate = {name: 8 * BATCH / found[name]["seconds"] for name in both}
    return rate["memory"], {"disk": rate["disk"], **{key: found["disk"][key] for key in ("ratio", "low", "high")}}


def drop(folder: Path) -> None:
    """Ask the system to drop the caches in a folder from its memory."""
    for path in folder.glob("*.safetensors") if hasattr(os, "posix_fadvise") else ():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
