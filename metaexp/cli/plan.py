"""``metaexp plan``: what ``metaexp train -m`` would do with the same arguments."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from metaexp.cli.arguments import OVERRIDES, SWEEPS, Options, make_parser, parse, print_help
from metaexp.core.terminal_text import print_text
from metaexp.results.display.next_steps import Step, format_next


class PlanOptions(Options):
    """Options of ``metaexp plan``.

    Attributes:
        multirun: Ignored, so that the options of ``metaexp train`` can be given.
        measure: Whether to measure how long jobs take.
    """

    multirun: bool
    measure: bool


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp plan`` and return its exit code."""
    parser = make_parser(
        "plan",
        "Check and list the jobs of a sweep: which are done, which are the same, and how long the rest will take.\n"
        "The arguments are those of `metaexp train -m`. Nothing is started, and nothing is written.",
    )
    parser.add_argument(
        "-cn", "--config-name", default="config", metavar="NAME", help="use this root file in place of config"
    )
    parser.add_argument("-m", "--multirun", action="store_true", help="accepted, but it changes nothing")
    parser.add_argument(
        "--measure",
        action="store_true",
        help="time a few steps and episodes of each kind of job, where no finished run says how long it takes",
    )
    options = parse(parser, arguments, PlanOptions())
    if options.help:
        print_help(parser, f"{OVERRIDES}\n{SWEEPS}\n")
        return 0

    from metaexp.run.folder import check_writable
    from metaexp.run.progress import default_display
    from metaexp.sweep.plan import format_plan
    from metaexp.sweep.prepare import prepare

    given = (options.overrides, options.config_dir, options.config_name, default_display())
    prepared = prepare(*given, keeps_files=False)
    if prepared.lacks_folders():  # whether such a job starts again depends on Hydra's files, too
        prepared = prepare(*given)
    check_writable(prepared.path)
    print_text(format_plan(prepared, options.overrides, _print_progress if options.measure else None))
    command = shlex.join(["metaexp", "train", "-m", *options.given, *options.overrides])
    after = format_next([Step(command, "start it")] if prepared.left() else [])
    print_text("\n".join(part for part in ("nothing was started", after) if part))
    return 0


def _print_progress(text: str) -> None:
    print_text(text, file=sys.stderr, flush=True)
