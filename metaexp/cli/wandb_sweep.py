"""``metaexp wandb-sweep``: a sweep file for Weights & Biases, from the overrides of a metaexp sweep."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from metaexp.cli.arguments import Options, make_parser, parse, print_help, whole_number
from metaexp.config.command_line.override_text import key_of
from metaexp.config.compose import Composer
from metaexp.config.project import own_file_options
from metaexp.core.counted import counted
from metaexp.core.disk.files import write_atomically
from metaexp.core.errors import ConfigError
from metaexp.core.terminal_text import print_text
from metaexp.search.comparable import NO_TEST, check_comparable, check_points, common_metric
from metaexp.search.space import read_space
from metaexp.search.wandb_file import Method, SweepPlan, format_header, format_sweep_file
from metaexp.sweep.expand import check_new_classes

_OVERRIDES = """\
overrides are those of metaexp train, with some keys that vary:
  metaexp wandb-sweep 'algorithm.inner_lr=tag(log, interval(0.01, 1))' train.meta_batch_size=4,8,16
  metaexp wandb-sweep --method grid algorithm=maml,anil seed=0,1,2
  KEY=A,B,C or KEY=range(1, 9)                        one of these values
  KEY=interval(0.1, 1) or KEY=int(interval(1, 8))     any number, or any integer, in between
  KEY=tag(log, interval(1e-4, 1))                     any number in between, on a logarithmic scale
"""


class SweepFileOptions(Options):
    """Options of ``metaexp wandb-sweep``.

    Attributes:
        method: How W&B proposes values.
        output: File to write; ``-`` prints it.
        force: Whether to replace the file.
        metric: Metric to judge by; None for the validation metric of the task.
        runs: Number of runs; None for no limit.
        stop_after: Validations before a bad run may be stopped; None stops none.
    """

    method: str
    output: Path
    force: bool
    metric: str | None
    runs: int | None
    stop_after: int | None


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp wandb-sweep`` and return its exit code."""
    parser = _parser()
    options = parse(parser, arguments, SweepFileOptions())
    if options.help:
        print_help(parser, _OVERRIDES)
        return 0
    composer = Composer(options.config_dir, options.config_name)
    says_so = any(key_of(line) == "eval.test" for line in options.overrides)
    space = read_space([*options.overrides, *([] if says_so else [NO_TEST])], composer)
    jobs = check_points(space, composer, on_this_machine=False)
    metric = common_metric(jobs, options.metric, "--metric ")
    if options.method != "grid" or options.stop_after is not None:  # else every combination runs, and nothing is chosen
        check_comparable(space, jobs)
    plan = SweepPlan(cast(Method, options.method), options.runs, options.stop_after)
    passed_on = own_file_options(
        options.config_dir, options.config_name, options.trust
    )  # to the agents' ``metaexp train``
    text = format_sweep_file(space, metric, plan, passed_on, jobs)
    for note in check_new_classes(jobs, is_tested=lambda _: False, one_is_chosen=True):
        print_text(note, file=sys.stderr)
    command = shlex.join(["metaexp", "wandb-sweep", *arguments])
    text = format_header(command, shlex.quote(str(options.output))) + text
    if str(options.output) == "-":
        print_text(text, end="")
        return 0
    _write(options, text)
    goal = "maximizes" if metric.larger_is_better else "minimizes"
    print_text(
        f"{options.output}: --method {options.method} over {counted(len(space.dimensions), 'key')}, "
        f"{goal} {metric.validation}"
    )
    print_text(f"start it:  wandb sweep {shlex.quote(str(options.output))}")
    print_text(
        "run it:    the line `wandb agent ...` that this prints, as often as you like, where `metaexp` can be called"
    )
    return 0


def _write(options: SweepFileOptions, text: str) -> None:
    if options.output.exists() and not options.force:
        raise ConfigError(f"--output {options.output} is there already; name another file, or add --force.")
    if not options.output.parent.is_dir():
        raise ConfigError(f"--output {options.output}: there is no folder {options.output.parent}.")
    write_atomically(options.output, text.encode())


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "wandb-sweep",
        "Write a sweep file for Weights & Biases. Its server proposes values, and `wandb agent` runs metaexp train\n"
        "with them, online. The values are checked first. Runs are judged on validation tasks and are not tested.",
    )
    parser.add_argument(
        "-cn", "--config-name", default="config", metavar="NAME", help="use this root file in place of config"
    )
    parser.add_argument(
        "--method",
        choices=["random", "grid", "bayes"],
        default="random",
        help="how values are chosen (default: random)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("sweep.yaml"),
        metavar="FILE",
        help="the file to write (default: sweep.yaml); - prints it",
    )
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    parser.add_argument(
        "--metric", metavar="NAME", help="the metric to judge by (default: val/accuracy, or val/mse for regression)"
    )
    parser.add_argument(
        "--runs",
        type=whole_number,
        metavar="N",
        help="end the sweep after N runs (default: no end; grid: all)",
    )
    parser.add_argument(
        "--stop-after",
        type=whole_number,
        metavar="N",
        help="let W&B stop bad runs after N validations (Hyperband)",
    )
    return parser
