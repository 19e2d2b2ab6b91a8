"""``metaexp compare RUN_OR_SWEEP...``: which is better, by how much, how sure, at what cost."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from metaexp.cli.arguments import Parser, print_origin, split_keys
from metaexp.compare.find import PAGE, is_earlier, run_folders
from metaexp.config.identity import numeric_part
from metaexp.config.project import use_own_files
from metaexp.core.disk.outputs import usual_outputs
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.core.terminal_text import make_console
from metaexp.results.display.names import full_name
from metaexp.results.display.next_steps import Step, format_next, step
from metaexp.run.folder import check_writable, create_folder
from metaexp.run.integrity import check_run_files

if TYPE_CHECKING:
    from metaexp.compare.comparison import ComparedRuns
    from metaexp.compare.gather import Gathered

_DESCRIPTION = """\
Compare finished runs. Runs that differ only in their seed are one row, and differences are paired by test episode.
Prints a table, and writes a page (index.html), README.md, CSV, LaTeX and PNG figures."""
_EXAMPLES = """\
examples:
  metaexp compare outputs/SWEEP                                one row for each setting, over all its seeds
  metaexp compare outputs/A outputs/B docs/results/C --output outputs/mine
  metaexp compare outputs/SWEEP --by algorithm,algorithm.inner_lr
  metaexp compare outputs/SWEEP --metric nll                   another metric, which the runs have by eval.metrics
  metaexp compare outputs/SWEEP --axis time                    learning curves over the time of training
  metaexp compare outputs/SWEEP --paper                        also PDF figures and LaTeX for a paper
  metaexp compare outputs/SWEEP --evaluations                  also what `metaexp evaluate` measured: other ways, shots
  metaexp compare outputs/SWEEP --retest                       test runs again that were tested on other episodes
"""


class _Options(argparse.Namespace):
    paths: list[Path]
    by: list[str]
    output: Path | None
    title: str | None
    retest: bool
    evaluations: bool
    paper: bool
    axis: str
    metric: str | None
    config_dir: Path | None
    trust: list[str]


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp compare`` and return its exit code."""
    options = _parser().parse_args(arguments, namespace=_Options())
    _check_output(options.output)
    if options.metric and options.retest:
        raise ConfigError("--retest measures the accuracy or the squared error. Remove it or --metric.")
    if options.evaluations and (options.metric or options.retest):
        raise ConfigError("--evaluations compares tests that were made. Remove it, or --retest and --metric.")
    own = use_own_files(options.config_dir, options.trust)
    print_origin(own)
    run_folders(options.paths)  # reports a wrong path before numpy and matplotlib are imported

    from metaexp.compare.comparison import compare
    from metaexp.compare.gather import gather
    from metaexp.compare.output.write import render, write

    found = gather(options.paths, options.metric)
    if not found.runs:
        raise RunFolderError(_format_nothing(found))
    runs = found.runs
    for run in runs:
        check_run_files(run.folder, run.record)
    if options.retest:
        from metaexp.run.evaluation.common_bank import evaluate_on_common_bank

        runs = evaluate_on_common_bank(runs, own.config_dir)
    left_out = found.left_out
    if options.evaluations:
        from metaexp.compare.later_tests import with_later_tests

        runs, unusable = with_later_tests(runs, numeric_part)
        left_out = [*left_out, *unusable]
    names = sorted({full_name(run.record.algorithm) for run in runs})
    datasets = sorted({run.record.dataset for run in runs})
    title = options.title or f"{', '.join(names)} on {', '.join(datasets)}"
    comparison = compare(runs, left_out, options.by, numeric_part, title, format_command(arguments))
    files = render(comparison, for_paper=options.paper, axis=options.axis)  # an error leaves no folder behind
    if options.output is None:
        folder = _new_folder()
        try:
            write(files, folder)
        except BaseException:
            folder.rmdir()
            raise
    else:
        folder = options.output
        write(files, folder)
    _print(comparison, folder, _next_steps(arguments, folder, options))
    return 0


def format_command(arguments: Sequence[str]) -> str:
    """Format the command for the page. Pages are published, so absolute paths are shortened.

    Args:
        arguments: The arguments after the verb.

    Returns:
        The command. A path below the current folder is relative; of any other absolute path, only the name is left.
    """
    return shlex.join(["metaexp", "compare", *map(_from_here, arguments)])


def _from_here(argument: str) -> str:
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    path, here = Path(value), Path.cwd()
    if not path.is_absolute():
        return argument
    return f"{option}{equals}{path.relative_to(here) if path.is_relative_to(here) else path.name}"


def _next_steps(arguments: Sequence[str], folder: Path, options: _Options) -> list[Step]:
    if options.paper:
        compile_it = "pdflatex paper; bibtex paper; pdflatex paper; pdflatex paper"
        return [Step(f"(cd {shlex.quote(str(folder))} && {{ {compile_it}; }})", "a page with all of it")]
    given = [word for word in arguments if word != "--paper"]
    more = [] if options.output is not None else ["--output", str(folder)]
    return [step("the same, with figures and tables for a paper", "compare", *given, *more, "--paper")]


def _print(comparison: ComparedRuns, folder: Path, after: Sequence[Step]) -> None:
    from metaexp.compare.output.documents import print_comparison

    console = make_console()
    print_comparison(comparison, console)
    console.print(f"page: {folder / PAGE}", soft_wrap=True)
    console.print(f"all files: {folder}", soft_wrap=True)
    console.print(format_next(after), soft_wrap=True)


def _new_folder() -> Path:
    return create_folder(usual_outputs(), f"compare-{datetime.now():%Y%m%d-%H%M%S-%f}").path


def _check_output(folder: Path | None) -> None:
    """Check that no file of the user can be overwritten: only an earlier comparison may be replaced."""
    if folder is None:
        return
    if not folder.exists():
        check_writable(folder)
        return
    if not folder.is_dir():
        raise ConfigError(f"--output {folder} is a file; give a folder.")
    if any(folder.iterdir()) and not is_earlier(folder):
        raise ConfigError(
            f"--output {folder} holds files that are not those of a comparison; give a new folder, or that of an "
            "earlier comparison."
        )


def _format_nothing(found: Gathered) -> str:
    lines = [f"  {item.name}: {item.reason}" for item in found.left_out[:10]]
    more = [f"  and {len(found.left_out) - 10} more"] if len(found.left_out) > 10 else []
    return "\n".join(["none of these runs can be compared:", *lines, *more])


def _parser() -> argparse.ArgumentParser:
    parser = Parser("compare", _DESCRIPTION, epilog=_EXAMPLES)
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="RUN_OR_SWEEP", help="a run folder, or a folder that contains runs"
    )
    parser.add_argument(
        "--by",
        type=split_keys,
        default=[],
        metavar="KEY,KEY",
        help="the keys that separate rows, such as algorithm or train.steps",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="the folder to write to (default: outputs/compare-...)"
    )
    parser.add_argument(
        "--metric", metavar="NAME", help="compare this metric of eval.metrics, such as nll, ece, top_2 or mae"
    )
    _add_figures(parser)
    parser.add_argument("--title", help="the heading of the page")
    parser.add_argument(
        "--evaluations", action="store_true", help="also compare later tests: what `metaexp evaluate` wrote"
    )
    parser.add_argument("--retest", action="store_true", help="test runs again that were tested on other episodes")
    parser.add_argument(
        "-cd",
        "--config-dir",
        type=Path,
        metavar="DIR",
        help="for --retest: a folder with configuration files of your own",
    )
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="for --retest: allow the configurations to use classes of this package",
    )
    return parser


def _add_figures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--paper",
        action="store_true",
        help="also write what a paper needs: figures as PDF and SVG, LaTeX tables, BibTeX, an appendix of settings",
    )
    parser.add_argument(
        "--axis", choices=("steps", "tasks", "time"), default="steps",
        help="draw learning curves over training steps, training tasks seen, or time spent in training",
    )  # fmt: skip
