"""``metaexp report``: the results tables of the documentation, generated from committed records."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from metaexp.cli.arguments import Parser
from metaexp.config.compose import Composer
from metaexp.core.errors import ConfigError
from metaexp.core.terminal_text import print_text
from metaexp.report.algorithm_tables import Page, format_page
from metaexp.report.later_tests import FindExperiment, NotCopied, SavedExperiment, publish_tests
from metaexp.report.pages import Documentation, Pages, no_pages, outdated, write_outdated
from metaexp.report.publish import publish
from metaexp.report.published_settings import published_settings
from metaexp.report.rows import Entry
from metaexp.report.undecided import with_undecided_rows
from metaexp.reproduce.saved_experiment import match_experiment
from metaexp.reproduce.today import departs, find_today
from metaexp.results.display.next_steps import after_report, format_next
from metaexp.results.evaluations import Evaluation
from metaexp.results.record import RunRecord, read_record
from metaexp.run.integrity import check_numbers, check_run_files
from metaexp.run.own_options import trust_of_run

_DESCRIPTION = """\
Write docs/results/README.md, a page for each record there, and the tables in README.md, docs/algorithms.md and
docs/ablations.md.
It copies the runs that you name into docs/results first. --evaluations also copies what `metaexp evaluate` measured
with their weights: other ways, shots or data. Each such test is a row of its own."""


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp report`` and return its exit code: 2 with ``--check`` if a page is not up to date."""
    options = _parser().parse_args(arguments)
    folder: Path = options.root / "docs" / "results"
    if not folder.is_dir() or not (options.root / "README.md").is_file():
        raise ConfigError(
            f"--root {options.root}: there is no README.md with a docs/results folder beside it, into which runs are "
            "published. Call `metaexp report` in the repository of metaexp, or name its folder by --root."
        )
    if options.name is not None and len(options.runs) != 1:
        raise ConfigError("--name names the copy of one run; give one run.")
    if options.evaluations and not options.runs:
        raise ConfigError("--evaluations publishes later tests of a run; give the run.")
    docs = documentation(options.root)
    if options.check:
        old = outdated(docs)
        print_text("\n".join([f"not up to date: {path}" for path in old] or ["all up to date"]))
        return 2 if old else 0
    copies: list[Path] = []
    for run in options.runs:
        record = read_record(run)
        check_run_files(run, record)
        check_numbers(run, record)
        place = folder / (options.name or run.resolve().name)
        if options.evaluations and place.resolve() == run.resolve():
            copies.append(place)
        else:
            copies.append(publish(run, folder, options.name))
            print_text(f"copied to {copies[-1]}")
        if options.evaluations:
            _publish_tests(run, copies[-1], options.root / "conf")
    for path in write_outdated(docs):
        print_text(f"wrote {path}")
    if copies:
        print_text(format_next(after_report(copies, {copy: trust_of_run(copy) for copy in copies})))
    return 0


def documentation(root: Path) -> Documentation:
    """Return what the pages of a repository are made from.

    Args:
        root: The repository.
    """
    of_algorithms, of_undecided = algorithm_pages(root), undecided_pages(root)

    def others(rows: Sequence[Entry]) -> Mapping[Path, str]:
        return {**of_algorithms(rows), **of_undecided(rows)}

    return Documentation(root / "docs" / "results", root / "README.md", find_today, others, departs)


def _publish_tests(run: Path, copy: Path, conf: Path) -> None:
    done = publish_tests(run, copy, experiment_finder(conf))
    for item in done:
        print_text(f"not copied: {item.path}: {item.reason}" if isinstance(item, NotCopied) else f"copied to {item}")
    if not done:
        print_text(f"{run} has no later tests. `metaexp evaluate` makes them.")


def experiment_finder(conf: Path) -> FindExperiment:
    """Return what finds the saved experiment that a later test is a test of: the one that differs least.

    Args:
        conf: The folder with the experiments.
    """
    known = [setting for settings in published_settings(conf).values() for setting in settings] if conf.is_dir() else []

    def find(record: RunRecord, test: Evaluation) -> SavedExperiment | None:
        as_one = record.parent is None or not record.parent.not_from_start
        names = [s.experiment for s in known if s.task == test.task] if as_one else []
        composer = Composer()
        found = filter(None, (match_experiment(name, composer, record, test) for name in names))
        return min(found, key=lambda item: item[0], default=(0, None))[1]

    return find


def algorithm_pages(root: Path) -> Pages:
    """Return the generated part of the page about algorithms, if the repository has that page."""
    path, conf = root / "docs" / "algorithms.md", root / "conf"
    if not path.is_file() or not conf.is_dir():
        return no_pages
    page = Page(path, published_settings(conf))

    def pages(entries: Sequence[Entry]) -> Mapping[Path, str]:
        return {path: format_page(page, entries, "results")}

    return pages


def undecided_pages(root: Path) -> Pages:
    """Return the generated part of the page with undecided rows, if the repository has that page."""
    path = root / "docs" / "ablations.md"
    if not path.is_file():
        return no_pages
    return lambda rows: {path: with_undecided_rows(path.read_text(encoding="utf-8"), rows, "results")}


def _parser() -> argparse.ArgumentParser:
    parser = Parser("report", _DESCRIPTION, allow_abbrev=True)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="a finished run to publish")
    parser.add_argument(
        "--name", help="the name of the copy (default: that of its experiment, and -seed<k> for further seeds)"
    )
    parser.add_argument(
        "--evaluations", action="store_true",
        help="also publish later tests of its weights (`metaexp evaluate`); RUN may be in docs/results already",
    )  # fmt: skip
    parser.add_argument(
        "--check", action="store_true", help="write nothing, and list what is out of date (exit code 2)"
    )
    parser.add_argument(
        "--root", type=Path, default=Path(), metavar="DIR", help="the repository (default: the current folder)"
    )
    return parser
