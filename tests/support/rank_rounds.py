"""Rounds of runs on several ranks, each disturbed at random: does any hang, and does each go on bit for bit?

usage: rank_rounds.py FOLDER [--rounds 50] [--seed 0] [--output FILE]

A round is a run of 1, 2 or 4 ranks with one disturbance: an error on one rank (in a step, between two steps, out of
memory, other settings), a signal to one or to all ranks at a step or at any moment, or a rank killed. It hangs if a
process of it is still there after two minutes. What was interrupted or killed is resumed with as many ranks, and must
leave the bytes of an undisturbed run. Prints a JSON object with what was tried and what failed.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).resolve().parent
SIZES = (1, 2, 4)
STEPS = 12
ERRORS = ("error", "memory", "outside", "drift", "other")
DISTURBANCES = ("none", *ERRORS, "stop one", "stop all", "interrupt one", "kill", "SIGTERM", "SIGHUP", "SIGKILL")
KEPT = ("metrics.jsonl", "test_episodes.csv", f"checkpoints/step_{STEPS:09d}.safetensors")


def planned(rounds: int, seed: int, kinds: Sequence[str] = DISTURBANCES) -> dict[str, dict[str, Any]]:
    """Name -> job of ``shared_runs.py``: an undisturbed run of each size, then the rounds and what resumes them."""
    draw = random.Random(seed)
    jobs: dict[str, dict[str, Any]] = {f"undisturbed{n}": {"ranks": n, "settings": "maml"} for n in SIZES}
    for index in range(rounds):
        what, n = kinds[index % len(kinds)], draw.choice(SIZES)
        if what in ("drift", "other"):
            n = draw.choice(SIZES[1:])  # one rank cannot differ from itself
        rank = draw.randrange(n)
        job: dict[str, Any] = {"ranks": n, "settings": "maml", "what": what}
        if what == "other":
            job["other"] = {"seed": 1}
        elif what.startswith("SIG"):
            job["signal"] = [int(signal.Signals[what]), draw.choice([rank, "all"]), draw.uniform(0.0, 1.5)]
        elif what != "none":
            deed, _, who = what.partition(" ")
            job["act"] = [deed, "all" if who == "all" else rank, draw.randrange(STEPS)]
        jobs[f"round{index}"] = job
        jobs[f"resumed{index}"] = {"ranks": n, "resume": True, "in": f"round{index}", "settings": "maml"}
    return jobs


def judged(jobs: dict[str, dict[str, Any]], report: dict[str, Any]) -> dict[str, Any]:
    """What was tried, and the rounds that hung or did not go on as if nothing had happened."""
    tried: dict[str, int] = {}
    hung, wrong = [], []
    for name, job in jobs.items():
        if None in report[name]["codes"]:
            hung.append(name)
        if name.startswith("round"):
            tried[job["what"]] = tried.get(job["what"], 0) + 1
            place = Path(report[name]["folder"])
            resumed = report[name.replace("round", "resumed")]
            same = all(
                (place / kept).exists()
                and (place / kept).read_bytes()
                == (Path(report[f"undisturbed{job['ranks']}"]["folder"]) / kept).read_bytes()
                for kept in KEPT
            )
            began = (place / "config.yaml").exists()  # else the disturbance came before there was anything to resume
            if began and not (same and resumed["codes"] == [0] * job["ranks"]):
                wrong.append({"round": name, "job": job, "codes": report[name]["codes"], "resumed": resumed["codes"]})
    slowest = max(report[name]["seconds"] for name in jobs)
    return {"rounds": sum(tried.values()), "tried": tried, "hung": hung, "wrong": wrong, "slowest_seconds": slowest}


def run_rounds(folder: Path, rounds: int, seed: int, kinds: Sequence[str] = DISTURBANCES) -> dict[str, Any]:
    """Run all rounds, with disturbances of these kinds, and judge them."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = planned(rounds, seed, kinds)
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, str(SUPPORT / "shared_runs.py"), str(folder), str(folder / "jobs.json")]
    subprocess.run(command, check=True)
    return judged(jobs, json.loads((folder / "report.json").read_text()))


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="where the JSON object is written too")
    options = parser.parse_args()
    found = run_rounds(options.folder, options.rounds, options.seed)
    if options.output is not None:
        options.output.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    return 1 if found["hung"] or found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
