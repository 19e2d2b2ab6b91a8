"""``metaexp reproduce``: rerun a run folder, or run a saved experiment and compare with its published number."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from metaexp.cli.arguments import (
    Options,
    make_parser,
    parse,
    print_help,
    starts_with_folder,
    whole_number,
)
from metaexp.config.classes.values import format_nearest
from metaexp.config.compose import Composer
from metaexp.core.counted import counted
from metaexp.core.disk.nearest import format_nearest_path
from metaexp.core.errors import ConfigError, ExitCode
from metaexp.core.terminal_text import print_text
from metaexp.results.display.next_steps import after_rerun, after_seeds, format_next
from metaexp.results.display.wording import format_time

if TYPE_CHECKING:
    from metaexp.reproduce.from_weights import ReproducedTest
    from metaexp.reproduce.in_a_minute import Part
    from metaexp.reproduce.planned_tests import PlannedTest

_DESCRIPTION = """\
metaexp reproduce RUN    run it again from its folder alone, or from its copy in docs/results, and compare:
                         identical, or the first difference and its possible cause
metaexp reproduce NAME   run a saved experiment and compare with its published number
metaexp reproduce NAME --weights   train nothing: test the weights of a published run (in docs/results, or a run folder)
                         again, of all its seeds, and repeat the verdict; then its published later tests. If that takes
                         more than a minute, only the first episodes of each test

Give the same command again to continue what was interrupted. No existing file is overwritten."""
_MORE = """\
overrides:
  for RUN:  paths.data=... paths.outputs=... device=... device.threads=... tracker=...
  for NAME: any; if settings differ from the published ones, the verdict is "changed settings"

exit codes: 11 if the numbers are not identical or not reproduced, 3 if the data are different, otherwise 0.
"""


class ReproduceOptions(Options):
    """Options of ``metaexp reproduce``. None means not given.

    Attributes:
        steps: For a run: train and compare only this many steps.
        fresh: For a run: start a new rerun.
        seeds: For an experiment: number of seeds.
        short: For an experiment: shorten the schedule.
        weights: Train nothing, and test published weights again.
        episodes: With ``weights``: test only so many episodes, the first, or ``all``; None for what a minute allows.
    """

    steps: int | None
    fresh: bool
    seeds: int | None
    short: bool
    weights: bool
    episodes: int | Literal["all"] | None


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp reproduce`` and return its exit code: 11 if the numbers differ."""
    parser = make_parser("reproduce", _DESCRIPTION)
    parser.usage = (
        "metaexp reproduce RUN|NAME [OVERRIDE ...] [--steps N] [--fresh] [--seeds N] [--short] [--weights] "
        "[--episodes N|all]"
    )
    parser.add_argument(
        "--steps", type=whole_number, metavar="N", help="for RUN: train and compare only the first N steps"
    )
    parser.add_argument("--fresh", action="store_true", help="for RUN: start again in a new folder")
    parser.add_argument(
        "--seeds",
        type=whole_number,
        metavar="N",
        help="for NAME: train with N seeds: 0, 1, ... (default: 1)",
    )
    parser.add_argument("--short", action="store_true", help="for NAME: shorten training so that a seed takes minutes")
    parser.add_argument("--weights", action="store_true", help="train nothing: test published weights again")
    parser.add_argument(
        "--episodes",
        type=_number_or_all,
        metavar="N",
        help="with --weights: test only the first N episodes of each test, and compare them with those of the record; "
        "all tests all of them (default: as many as take about a minute)",
    )
    options = parse(parser, arguments, ReproduceOptions())
    if options.help:
        print_help(parser, _MORE)
        return 0
    if not starts_with_folder(options.overrides):
        raise ConfigError("give a run folder or the name of a saved experiment first: metaexp reproduce RUN|NAME.")
    what, overrides = options.overrides[0], options.overrides[1:]
    if options.weights:
        return _weights(what, overrides, options)
    if options.episodes is not None:
        raise ConfigError("--episodes is for --weights. Add --weights, or remove --episodes.")
    experiments = Composer(options.config_dir).groups().get("experiment", [])
    if what in experiments:
        if (Path(what) / "config.yaml").exists():
            print_text(
                f"{what} is taken as the saved experiment; the run folder of that name is ./{what}", file=sys.stderr
            )
        return _experiment(what, overrides, options)
    folder = Path(what).expanduser()
    if not folder.exists():
        near = format_nearest_path(folder, kind="folder") or format_nearest(what, experiments)
        message = f"{what} is neither a run folder nor a saved experiment.{near}"
        raise ConfigError(f"{message} `metaexp train --help` lists the experiments.")
    return _run(folder, overrides, options)


def _run(folder: Path, overrides: Sequence[str], options: ReproduceOptions) -> int:
    if options.seeds is not None or options.short:
        raise ConfigError(f"--seeds and --short are for saved experiments; {folder} is a run folder. Remove them.")
    from metaexp.reproduce.rerun import format_rerun, plan_rerun, rerun
    from metaexp.run.own_options import trust_of_run

    plan = plan_rerun(folder, overrides, steps=options.steps, fresh=options.fresh, config_dir=options.config_dir)
    with _explain_how_to_continue():
        done = rerun(plan)
    print_text(format_rerun(done))
    after = after_rerun(
        folder,
        done.folder,
        is_identical=done.result.identical,
        is_whole=done.plan.until is None,
        trust=trust_of_run(folder),
    )
    print_text(format_next(after))
    return 0 if done.result.identical else ExitCode.DIFFERENT


def _weights(what: str, overrides: Sequence[str], options: ReproduceOptions) -> int:
    if options.steps is not None or options.fresh or options.seeds is not None or options.short:
        raise ConfigError("--weights trains nothing. Remove --steps, --fresh, --seeds and --short.")
    if others := [line for line in overrides if not line.lstrip("+~").startswith(("paths.", "device"))]:
        raise ConfigError(f"{others[0]}: with --weights only paths.data=... and device=... can be given.")
    from metaexp.reproduce.from_weights import format_reproduced_tests, in_rows, reproduce_tests
    from metaexp.reproduce.in_a_minute import reproduce_in_a_minute
    from metaexp.reproduce.planned_tests import find_row, plan_later_tests, plan_test

    folders = find_row(what)

    def plan(n_episodes: int | None) -> list[PlannedTest]:
        planned = [plan_test(folder, overrides, n_episodes) for folder in folders]
        return planned + [test for folder in folders for test in plan_later_tests(folder, overrides, n_episodes)]

    if options.episodes is None:
        tests = reproduce_in_a_minute(plan, _announce)
    else:
        tests = reproduce_tests(plan(None if options.episodes == "all" else options.episodes))
    runs, later = tests[: len(folders)], tests[len(folders) :]
    print_text(format_reproduced_tests(runs))
    for row in in_rows(later):
        print_text(format_reproduced_tests(row))
    if text := _format_part(tests):
        print_text(text)
    return 0 if all(test.agrees for test in tests) else ExitCode.DIFFERENT


def _announce(part: Part) -> None:
    print_text(
        f"All episodes take about {format_time(part.seconds)}. The first {counted(part.n_episodes, 'episode')} of each "
        "test take about a minute, so these are tested.",
        file=sys.stderr,
    )


def _format_part(tests: Sequence[ReproducedTest]) -> str:
    """What was compared, if that was a part; else empty."""
    part = [test for test in tests if test.whole is not None]
    if not part:
        return ""
    number = counted(max(test.found.n_episodes for test in part), "episode")
    return (
        f"Only the first {number} of each test were compared, with the same ones of the records. Scores and verdicts "
        "by the records are repeated, not measured. --episodes all tests all episodes."
    )


def _number_or_all(text: str) -> int | Literal["all"]:
    """Read ``all`` or a whole number from 1 on."""
    if text == "all":
        return "all"
    try:
        return whole_number(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{str(error).removesuffix('.')}, or all.") from error


def _experiment(name: str, overrides: Sequence[str], options: ReproduceOptions) -> int:
    if options.steps is not None or options.fresh:
        raise ConfigError(f"--steps and --fresh are for run folders; {name} is a saved experiment. Remove them.")
    from metaexp.reproduce.run_seeds import plan_seeds, run_seeds

    seeds = 1 if options.seeds is None else options.seeds
    plan = plan_seeds(name, overrides, seeds=seeds, short=options.short, config_dir=options.config_dir)
    with _explain_how_to_continue():
        done = run_seeds(plan)

    from metaexp.results.display.terminal import print_seeds
    from metaexp.results.seed_summary import write_summary

    failed = {seed: str(error) for seed, error in done.failed.items()}
    whole = write_summary(plan.folder, name, done.records, failed, plan.departs)
    print_seeds(name, done.records, whole, failed, plan.departs, plan.folder)
    changes = [*overrides, *(["--short"] if options.short else [])]
    print_text(format_next(after_seeds(name, plan.folder, len(done.records), options.given, changes)))
    for error in done.failed.values():
        return error.exit_code
    return ExitCode.DIFFERENT if whole.verdict is not None and whole.verdict.kind == "not_reproduced" else 0


@contextmanager
def _explain_how_to_continue() -> Iterator[None]:
    """If a run is stopped within this block, add to the message that the same command continues it and compares."""
    from metaexp.machine.signals import Interrupted

    try:
        yield
    except Interrupted as stopped:
        raise Interrupted(
            f"{stopped}, or with this command again, which also compares.", stopped.signal_number
        ) from None
