"""Rounds of runs on several ranks, each disturbed at random: does any hang, and does each go on bit for bit?

usage: rank_rounds.py FOLDER [--rounds 50] [--seed 0] [--output FILE]

A round is a run of 1, 2 or 4 ranks with one disturbance: an error on one rank (in a step, between two steps, out of
memory, other settings), a signal to one or to all ranks at a step or at any moment after the ranks have met, or a rank
killed. It hangs if a process of it is still there after ten minutes. Its ranks must end with the exit codes of
``EXITS``. What was interrupted or killed is resumed with as many ranks, and must leave the bytes of an undisturbed run.
Prints a JSON object with where this was run, what was tried, how every rank ended and what failed.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from metaexp.core.errors import ExitCode
from metaexp.machine.threads import cores
from metaexp.results.provenance import git_state

HERE = Path(__file__).resolve().parent
SIZES = (1, 2, 4)
STEPS = 12
ERRORS = ("error", "memory", "outside", "drift", "other")
DISTURBANCES = ("none", *ERRORS, "stop one", "stop all", "interrupt one", "kill", "SIGTERM", "SIGHUP", "SIGKILL")
OK, BUG, MACHINE = int(ExitCode.OK), int(ExitCode.BUG), int(ExitCode.MACHINE)
Ends = tuple[tuple[set[int], set[int]], ...]
"""Ways in which a round may end: the exit codes of the ranks that are disturbed, and those of the others."""


def _signalled(number: int) -> Ends:
    """How a signal at any moment may end: saved; killed before metaexp handles signals, or after it; or too late."""
    saved, killed, late = ({128 + number}, {128 + number}), ({-number, MACHINE}, {MACHINE}), ({-number, OK}, {OK})
    return (saved, killed, late, ({OK}, {OK}))


EXITS: dict[str, Ends] = {
    "none": (({OK}, {OK}),),
    "error": (({BUG}, {BUG}),),
    "memory": (({MACHINE}, {MACHINE}),),
    "outside": (({BUG}, {MACHINE}),),
    "drift": (({MACHINE}, {MACHINE}),),
    "other": (({MACHINE}, {MACHINE}),),
    "stop one": (({128 + signal.SIGTERM}, {128 + signal.SIGTERM}),),
    "stop all": (({128 + signal.SIGTERM}, {128 + signal.SIGTERM}),),
    "interrupt one": (({128 + signal.SIGINT}, {128 + signal.SIGINT}),),
    "kill": (({-signal.SIGKILL}, {MACHINE}),),
    "SIGTERM": _signalled(signal.SIGTERM),
    "SIGHUP": _signalled(signal.SIGHUP),
    "SIGKILL": (({-signal.SIGKILL, OK}, {MACHINE, OK}), ({OK}, {OK})),
}
"""Disturbance -> how it may end; of several codes of disturbed ranks the smallest must be there.

The codes are those of docs/exit-codes.md; a negative one is a signal that killed.
"""
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
            job["signal"] = [int(signal.Signals[what]), draw.choice([rank, "all"]), draw.uniform(0.0, 0.5)]
            job["share_of"] = f"undisturbed{n}"
        elif what != "none":
            deed, _, who = what.partition(" ")
            job["act"] = [deed, "all" if who == "all" else rank, draw.randrange(STEPS)]
        jobs[f"round{index}"] = job
        jobs[f"resumed{index}"] = {"ranks": n, "resume": True, "in": f"round{index}", "settings": "maml"}
    return jobs


def disturbed(job: dict[str, Any]) -> set[int]:
    """The ranks that a round disturbs."""
    ranks = set(range(job["ranks"]))
    if job["what"] == "other":
        return {job["ranks"] - 1}
    whom = job["signal"][1] if "signal" in job else job.get("act", ["", "none"])[1]
    return ranks if whom == "all" else ranks & {whom}


def ends_as_it_may(job: dict[str, Any], codes: Sequence[int | None]) -> bool:
    """Whether the ranks of a round ended with exit codes that its disturbance allows."""
    hit = disturbed(job)
    return any(
        (not hit or min(own) in {codes[rank] for rank in hit})
        and all(code in (own if rank in hit else others) for rank, code in enumerate(codes))
        for own, others in EXITS[job["what"]]
    )


def judged(jobs: dict[str, dict[str, Any]], report: dict[str, Any]) -> dict[str, Any]:
    """What was tried, and the rounds that hung or did not go on as if nothing had happened."""
    tried: dict[str, int] = {}
    ranks = {str(n): 0 for n in SIZES}
    hung = [name for name in jobs if None in report[name]["codes"]]
    each, wrong = [], []
    for name, job in jobs.items():
        if not name.startswith("round"):
            continue
        tried[job["what"]] = tried.get(job["what"], 0) + 1
        ranks[str(job["ranks"])] += 1
        resumed = report[name.replace("round", "resumed")]["codes"]
        row = {"what": job["what"], "ranks": job["ranks"], "disturbed": sorted(disturbed(job))}
        each.append(row | {"codes": report[name]["codes"], "resumed": resumed})
        place = Path(report[name]["folder"])
        began = (place / "config.yaml").exists()  # else the disturbance came before there was anything to resume
        faults = [] if ends_as_it_may(job, report[name]["codes"]) else ["exit codes"]
        if began and resumed != [OK] * job["ranks"]:
            faults.append("not resumed")
        elif began and not _same(place, Path(report[f"undisturbed{job['ranks']}"]["folder"])):
            faults.append("other bytes")
        if faults:
            wrong.append({"round": name, "faults": faults, "job": job} | each[-1])
    late = [row for row in each if row["what"].startswith("SIG") and set(row["codes"]) == {OK}]
    slowest = max(report[name]["seconds"] for name in jobs)
    return {
        "rounds": len(each), "tried": tried, "too_late": len(late), "ranks": ranks, "hung": hung, "wrong": wrong,
        "slowest_seconds": slowest, "each": each,
    }  # fmt: skip


def _same(place: Path, undisturbed: Path) -> bool:
    return all(
        (place / kept).exists() and (place / kept).read_bytes() == (undisturbed / kept).read_bytes() for kept in KEPT
    )


def about(seed: int) -> dict[str, Any]:
    """What the rounds depend on, for the record."""
    state = git_state()
    return {
        "seed": seed,
        "started": "forked, with the environment that torchrun sets",
        "commit": None if state is None else state.commit,
        "uncommitted_changes": None if state is None else state.dirty,
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cores": cores()},
        "torch": version("torch"),
        "python": platform.python_version(),
    }


def run_rounds(folder: Path, rounds: int, seed: int, kinds: Sequence[str] = DISTURBANCES) -> dict[str, Any]:
    """Run all rounds, with disturbances of these kinds, and judge them."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = planned(rounds, seed, kinds)
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, str(HERE / "shared_runs.py"), str(folder), str(folder / "jobs.json")]
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
    found = about(options.seed) | run_rounds(options.folder, options.rounds, options.seed)
    *lines, last = (json.dumps(row) for row in found.pop("each"))
    rows = "".join(f"  {line},\n" for line in lines) + f"  {last}\n"  # a line for each round
    text = json.dumps(found, indent=1)[:-2] + f',\n "each": [\n{rows} ]\n}}\n'
    if options.output is not None:
        options.output.write_text(text)
    print(text, end="")
    return 1 if found["hung"] or found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
