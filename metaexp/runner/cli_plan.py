"""``metaexp plan``: what ``metaexp train -m`` would do with the same arguments."""

from __future__ import annotations

from collections.abc import Sequence

from metaexp.runner.arguments import OVERRIDES, Options, parse, parser
from metaexp.runner.sweep.wording import SWEEPS


class PlanOptions(Options):
    """Options of ``metaexp plan``."""

    multirun: bool


def main(arguments: Sequence[str]) -> int:
    """Print the plan of a sweep; returns the exit code."""
    made = parser(
        "plan",
        "Check every job of a sweep, and print them: duplicates, what is done already, how long the rest takes.\n"
        "Takes the arguments of `metaexp train -m`. Nothing is started, and nothing is written.",
    )
    made.add_argument("-cn", "--config-name", default="config", metavar="NAME", help="another root file than config")
    made.add_argument("-m", "--multirun", action="store_true", help="may be given, and changes nothing")
    options = parse(made, arguments, PlanOptions())
    if options.help:
        print(f"{made.format_help()}\n{OVERRIDES}\n{SWEEPS}")
        return 0

    from metaexp.runner.sweep.plan import plan
    from metaexp.runner.sweep.prepare import prepare

    print(plan(prepare(options.overrides, options.config_dir, options.config_name), options.overrides))
    print("nothing was started; `metaexp train -m` with the same arguments does")
    return 0
