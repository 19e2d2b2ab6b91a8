"""Measure each experiment in a process of its own: the options of such programs, and the calls."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from timing import CLOCKS


def experiments_parser(
    about: str | None, program: str, experiments: Sequence[str], *, threads: int, clock: str | None
) -> argparse.ArgumentParser:
    """Return a parser with the experiments, and with the options of what measures them.

    Args:
        about: What the program does.
        program: Its file.
        experiments: What it measures by default.
        threads: With how many threads by default.
        clock: By which clock by default; None for a program that times nothing, which has no rounds either.
    """
    parser = argparse.ArgumentParser(prog=f"python benchmarks/{Path(program).name}", description=about)
    parser.add_argument("experiments", nargs="*", default=experiments)
    parser.add_argument("--threads", type=int, default=threads)
    if clock is not None:
        parser.add_argument("--rounds", type=int, default=5)
        parser.add_argument("--clock", choices=list(CLOCKS), default=clock)
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    return parser


def measured(options: argparse.Namespace, program: str, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Measure each experiment of the options in turn, and yield it with what the program printed of it.

    Args:
        options: The options of :func:`experiments_parser`.
        program: The file of the program, which prints the row of one experiment where it is called with ``--here``.
        names: The options that it must have there, too.
    """
    given = [f"--{name}={getattr(options, name)}" for name in names]
    for experiment in options.experiments:
        row = in_its_own_process(experiment, program, [experiment, "--here", *given])
        if row is not None:
            yield experiment, row


def rows_of(
    options: argparse.Namespace,
    program: str,
    names: Sequence[str],
    measure: Callable[[str, argparse.Namespace], Mapping[str, Any]],
    line: Callable[[Mapping[str, Any]], str],
) -> dict[str, Any]:
    """Return the rows of all experiments by name, and print a line of each; none where this is the process of one.

    Args:
        options: The options of :func:`experiments_parser`.
        program: The file of the program.
        names: The options that the process of one experiment must have, too.
        measure: Measures one experiment in this process.
        line: What is printed of a row beside its name.
    """
    torch.set_num_threads(options.threads)
    if options.here:
        print(json.dumps(measure(options.experiments[0], options)))
        return {}
    rows = {}
    for experiment, row in measured(options, program, names):
        rows[experiment] = row
        print(f"{experiment:48s}{line(row)}", flush=True)
    return rows


def format_ratio(row: Mapping[str, Any]) -> str:
    """A ratio with its quartiles, as :func:`rows_of` prints it."""
    return f"{row['ratio']:8.3f}  (quartiles {row['low']:.3f} to {row['high']:.3f})"


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
