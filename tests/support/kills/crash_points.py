"""Kills a tiny run with SIGKILL at every call that writes, syncs, renames or removes a file, one run for each.

usage: crash_points.py FOLDER [--every 1] [--output FILE]

Run number n is killed just before or after such a call, at the n-th of these points, and then resumed until it ends. It
fails if its bytes are not those of a run that was never killed. With ``--every 10`` only each tenth point is tried.
Prints a JSON object with what was tried and what failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from kill_and_resume import result_of, run_session, session

from metaexp.config.classes.targets import trust
from metaexp.run import outputs as outputs_module


def try_points(outputs: Path, every: int) -> dict[str, Any]:
    """Try all crash points, or each ``every``-th one, and say what was tried and what failed."""
    outputs.mkdir(parents=True, exist_ok=True)
    trust("tiny_runs")
    outputs_module.draw = lambda *_: {}  # pictures take longer than these runs
    torch.set_num_threads(1)
    session(outputs / "undisturbed", None)
    expected = result_of(outputs / "undisturbed")
    tried, different, failed = 0, [], []
    for point in range(1, 10_000, every):
        folder = outputs / f"point{point}"
        status = _forked(folder, point)
        if status == 0:  # it ended before it came to so many calls
            break
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if not killed or _forked(folder, None) != 0:
            failed.append(point)
        elif result_of(folder) != expected:
            different.append(point)
        tried += 1
        shutil.rmtree(folder, ignore_errors=True)
    return {"points": tried, "every": every, "failed": failed, "different": different}


def _forked(folder: Path, calls: int | None) -> int:
    """The wait status of a session in a process of its own."""
    child = os.fork()
    if child == 0:
        run_session(folder, calls)
    return os.waitpid(child, 0)[1]


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--output", type=Path, help="where the JSON object is written too")
    options = parser.parse_args()
    found = try_points(options.folder, options.every)
    if options.output is not None:
        options.output.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))
    return 1 if found["failed"] or found["different"] or not found["points"] else 0


if __name__ == "__main__":
    sys.exit(main())
