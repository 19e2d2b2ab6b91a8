"""How many times as fast two ranks of torchrun train one run as one process does.

Real runs of ``metaexp train`` take turns: one process with one thread, one process with two threads, and two ranks with
one thread each. Compared are the training episodes per second of their records, so that the start of a process does
not count.

    python benchmarks/torchrun.py [--rounds 5] [--steps 60] [--note TEXT] [--output FILE]
    python benchmarks/torchrun.py --page docs/distributed.md [--check]    # write the table from its record
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timing
from pages import page_parser, write_page

from metaexp.machine.threads import cores
from metaexp.results.display.markdown import between_markers, format_table
from metaexp.results.record import read_record

RECORD = Path(__file__).resolve().parent / "records" / "torchrun.json"
NOT_MEASURED = "Nothing was measured on a machine without other work yet."
BASELINE = "one process, 1 thread"
WAYS: Mapping[str, tuple[int, int]] = {
    BASELINE: (1, 1),
    "one process, 2 threads": (1, 2),
    "2 ranks, 1 thread each": (2, 1),
}
"""Way -> processes, and threads of each."""
RUNS: Mapping[str, list[str]] = {
    "`maml`, 5-way 1-shot": ["algorithm=maml"],
    "`proto_net`, 5-way 5-shot": ["algorithm=proto_net", "task=5way_5shot"],
    "`relation_net`, 5-way 1-shot": ["algorithm=relation_net"],
}


def episodes_per_second(overrides: list[str], ranks: int, threads: int, steps: int) -> float:
    """Train a run and return what its record says.

    Args:
        overrides: What is trained.
        ranks: Processes.
        threads: Of each.
        steps: Of training.
    """
    with tempfile.TemporaryDirectory() as folder:
        launch = [] if ranks == 1 else ["torch.distributed.run", f"--nproc-per-node={ranks}", "--standalone", "-m"]
        words = [
            sys.executable, "-m", *launch, "metaexp", "train", *overrides, "dataset=glyphs", "tracker=files",
            "device=cpu", f"device.threads={threads}", f"train.steps={steps}", f"train.eval_every={steps}",
            "train.eval_episodes=4", f"train.checkpoint_every={steps}", "eval.test=false",
            f"hydra.run.dir={folder}/run",
        ]  # fmt: skip
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        subprocess.run(words, check=True, capture_output=True, cwd=folder, env=environment)
        found = read_record(Path(folder) / "run").episodes_per_second
    assert found is not None
    return found


def measure(overrides: list[str], rounds: int, steps: int) -> dict[str, dict[str, float]]:
    """Way -> episodes per second, and the ratio to the baseline with its quartiles, round by round."""
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, (ranks, threads) in WAYS.items():
            rates[name].append(episodes_per_second(overrides, ranks, threads, steps))
    seconds = {name: [1 / rate for rate in found] for name, found in rates.items()}
    found = {name: timing.summary(seconds[BASELINE], taken) for name, taken in seconds.items()}
    return {name: {"episodes_per_second": 1 / row.pop("seconds"), **row} for name, row in found.items()}


def on_page(text: str, record: Path = RECORD) -> str:
    """Return the text of the page with the table of the record."""
    if not record.is_file():
        return between_markers(text, "torchrun", NOT_MEASURED)
    found = json.loads(record.read_bytes())
    rows = [
        [run, name, f"{row['episodes_per_second']:.0f}", f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})"]
        for run, ways in found["results"].items()
        for name, row in ways.items()
    ]
    about = f"{found['cores']} cores, {found['rounds']} rounds of {found['steps']} steps"
    about += f"; load {found['load']:.1f} before{'; ' + found['note'] if found['note'] else ''}."
    header = ["run", "trained by", "episodes/s", "times as fast (quartiles)"]
    return between_markers(text, "torchrun", f"{format_table(header, rows, right=(2, 3))}\n\nMeasured on {about}")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print, or write the page; exit code 0, or 1 where ``--check`` finds a stale page."""
    words = sys.argv[1:] if arguments is None else arguments
    if "--page" in words:
        return write_page(page_parser(__doc__, "docs/distributed.md").parse_args(words), on_page)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--note", default="", help="what the record should say of the machine, such as who shared it")
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    options = parser.parse_args(words)
    load, results = os.getloadavg()[0], {}
    for name, overrides in RUNS.items():
        results[name] = measure(overrides, options.rounds, options.steps)
        print(name, results[name], flush=True)
    if options.output:
        about: dict[str, Any] = {"cores": cores(), "load": load, "rounds": options.rounds, "steps": options.steps}
        timing.save(options.output, "torchrun", results, baseline=BASELINE, note=options.note, **about)
    return 0


if __name__ == "__main__":
    sys.exit(main())
