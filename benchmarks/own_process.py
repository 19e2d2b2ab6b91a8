"""Measure each experiment in a process of its own: the options of such programs, and the call."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from timing import CLOCKS


def experiments_parser(
    about: str | None, program: str, experiments: Sequence[str], *, threads: int, clock: str
) -> argparse.ArgumentParser:
    """Return a parser with the experiments, and with the options of what measures them.

    Args:
        about: What the program does.
        program: Its file.
        experiments: What it measures by default.
        threads: With how many threads by default.
        clock: By which clock by default.
    """
    parser = argparse.ArgumentParser(prog=f"python benchmarks/{Path(program).name}", description=about)
    parser.add_argument("experiments", nargs="*", default=experiments)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--clock", choices=list(CLOCKS), default=clock)
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    return parser


def in_its_own_process(
    name: str, program: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> Any:
    """Return what a program prints in its last line, as JSON; None, and a line, where it fails.

    Args:
        name: What the line calls it.
        program: Its file.
        arguments: Its arguments.
        environment: Its environment variables; None for those of this process.
    """
    command = [sys.executable, program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        print(f"{name}: left out, {(done.stderr.strip() or 'no message').splitlines()[-1]}")
        return None
    return json.loads(done.stdout.splitlines()[-1])
