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
        "Check every job of a sweep, and print them: duplicates, what is done already, how long the rest takes.\n"
        "Takes the arguments of `metaexp train -m`. Nothing is started, and nothing is written.",
    )
    made.add_argument("-cn", "--config-name", default="config", metavar="NAME", help="another root file than config")
    made.add_argument("-m", "--multirun", action="store_true", help="may be given, and changes nothing")
    made.add_argument(
        "--measure",
        action="store_true",
        help="where no finished run tells how long a job takes, compute some updates and episodes of its kind to know",
    )
    options = parse(made, arguments, PlanOptions())
    if options.help:
        print_text(f"{made.format_help()}\n{OVERRIDES}\n{SWEEPS}")
        return 0

    from metaexp.sweep.plan import plan
    from metaexp.sweep.prepare import prepare

    prepared = prepare(options.overrides, options.config_dir, options.config_name)
    print_text(plan(prepared, options.overrides, _say if options.measure else None))
    print_text("nothing was started; `metaexp train -m` with the same arguments does")
    return 0


def _say(text: str) -> None:
    print_text(text, file=sys.stderr, flush=True)
