"""Do the numbers stay what they were? Tiny runs of every algorithm, and a comparison of two sets of them.

    python benchmarks/same_numbers.py make FOLDER            runs of this checkout
    python benchmarks/same_numbers.py compare BEFORE AFTER   exit 0 when no byte that counts differs, else 1

Make one set in a checkout of the commit before and one in yours, on the same machine with the same torch.
``metrics.jsonl`` and all weights are compared byte by byte; of ``record.json`` the hashes, the scores and the
configuration.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("tracker=files", "device=cpu", "device.threads=1", "seed=7", "train.steps=6", "train.eval_every=3")
SHORT = ("train.checkpoint_every=3", "train.eval_episodes=20", "eval.episodes=20")
EXPERIMENTS = ("maml_sinusoid", "relation_net_sinusoid", "fine_tune_sinusoid", "maml_curves", "meta_lstm_curves")
ONE_BY_ONE = {
    "maml_sinusoid_one_by_one": ["experiment=maml_sinusoid", "device.task_chunk=1", "train.k_shot=7", "train.steps=60"]
}
"""Tasks that are not mapped by vmap. A mean over seven examples is rounded, over a power of two it is not."""
START = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if not finder.__module__.startswith("__editable__")]
from metaexp.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
"""Runs metaexp with the configuration files of its own checkout, not those that were installed with pip install -e."""
IN_RECORD = ("config_hash", "data_hash", "episode_bank", "val", "test", "n_parameters", "config")


def runs() -> dict[str, list[str]]:
    """Overrides by the name of a run: each algorithm on glyphs, the experiments in regression, and one without vmap."""
    algorithms = sorted(path.stem for path in (ROOT / "conf" / "algorithm").glob("*.yaml"))
    found = {name: [f"algorithm={name}", "dataset=glyphs", "train.meta_batch_size=2"] for name in algorithms}
    return found | {name: [f"experiment={name}"] for name in EXPERIMENTS} | ONE_BY_ONE


def make(folder: Path, names: list[str]) -> int:
    """Run what ``names`` says, or everything, each in its own folder. Returns how many failed."""
    failed = 0
    for name, overrides in runs().items():
        if names and name not in names:
            continue
        command = [
            sys.executable,
            "-P",  # else the checkout in which this is called comes before PYTHONPATH
            "-c",
            START,
            "train",
            f"hydra.run.dir={folder / name}",
            *SMALL,
            *SHORT,
            *overrides,
        ]
        env = os.environ | {"PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled"}
        done = subprocess.run(
            [*command, *overrides], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        failed += done.returncode != 0
        print(
            name, "ok" if done.returncode == 0 else f"failed with {done.returncode}:\n{done.stdout[-2000:]}", flush=True
        )
    return failed


def numbers(run: Path) -> dict[str, Any]:
    """What must not change in a run folder: the bytes of its metrics and weights, and parts of its record."""
    files = [path for path in sorted(run.rglob("*")) if path.name == "metrics.jsonl" or path.suffix == ".safetensors"]
    record = json.loads((run / "record.json").read_bytes())
    found: dict[str, Any] = {path.relative_to(run).as_posix(): path.read_bytes() for path in files}
    return found | {f"record.json: {key}": record.get(key) for key in IN_RECORD}


def unequal_files(before: Path, after: Path) -> list[str]:
    """One line for each number that is not the same in two folders of runs."""
    names = sorted(path.parent.name for path in before.glob("*/record.json"))
    if not names:
        return [f"{before} holds no runs"]
    found = []
    for name in names:
        if not (after / name / "record.json").exists():
            found.append(f"{name}: no such run in {after}")
            continue
        old, new = numbers(before / name), numbers(after / name)
        found += [f"{name}: {key} differs" for key in sorted(old | new) if old.get(key) != new.get(key)]
    return found


def main(arguments: list[str]) -> int:
    """Make or compare."""
    match arguments:
        case ["make", folder, *names]:
            return min(make(Path(folder).resolve(), names), 1)
        case ["compare", before, after]:
            found = unequal_files(Path(before), Path(after))
            print("\n".join(found) or "no number differs")
            return min(len(found), 1)
        case _:
            print(__doc__)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
