"""``metaexp plan``: what ``metaexp train -m`` would do with the same arguments."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from metaexp.cli.arguments import OVERRIDES, SWEEPS, Options, parse, parser
from metaexp.core.terminal_text import print_text


class PlanOptions(Options):
    """Options of ``metaexp plan``."""

    multirun: bool
    measure: bool


def main(arguments: Sequence[str]) -> int:
    """Print the plan of a sweep; returns the exit code."""
    made = parser(
        "plan",
        "Check and list the jobs of a sweep: which are done, which are the same, and how long the rest will take.\n"
        "The arguments are those of `metaexp train -m`. Nothing is started, and nothing is written.",
    )
    made.add_argument(
        "-cn", "--config-name", default="config", metavar="NAME", help="use this root file in place of config"
    )
    made.add_argument("-m", "--multirun", action="store_true", help="accepted, but it changes nothing")
    made.add_argument(
        "--measure",
        action="store_true",
        help="time a few steps and episodes of each kind of job that no finished run can tell the time of",
    )
    options = parse(made, arguments, PlanOptions())
    if options.help:
        print_text(f"{made.format_help()}\n{OVERRIDES}\n{SWEEPS}")
        return 0

    from metaexp.sweep.plan import plan
    from metaexp.sweep.prepare import prepare

    prepared = prepare(options.overrides, options.config_dir, options.config_name)
    print_text(plan(prepared, options.overrides, _say if options.measure else None))
    print_text("nothing was started; `metaexp train -m` with the same arguments starts it")
    return 0


def _say(text: str) -> None:
    print_text(text, file=sys.stderr, flush=True)
