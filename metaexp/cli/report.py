"""``metaexp report``: the results tables of the documentation, generated from committed records."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metaexp.cli.arguments import Parser
from metaexp.config.compose import Composer
from metaexp.config.experiment_header import stated_departures
from metaexp.config.identity import config_hash
from metaexp.core.errors import ConfigError
from metaexp.core.terminal_text import print_text
from metaexp.report.algorithm_tables import Page, format_page
from metaexp.report.pages import Documentation, Pages, no_pages, outdated, write_outdated
from metaexp.report.publish import publish
from metaexp.report.published_settings import published_settings
from metaexp.report.rows import Entry
from metaexp.results.next_steps import after_report, format_next
from metaexp.results.record import RunRecord, read_record
from metaexp.run.integrity import check_numbers, check_run_files

_DESCRIPTION = """\
Write docs/results/README.md, a page for each record there, and the tables in README.md and docs/algorithms.md.
The runs that you name are copied into docs/results first."""


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp report`` and return its exit code: 2 with ``--check`` if a page is not up to date.

    Args:
        arguments: The arguments after the verb.
    """
    options = _parser().parse_args(arguments)
    folder: Path = options.root / "docs" / "results"
    readme = options.root / "README.md"
    if not folder.is_dir() or not readme.is_file():
        raise ConfigError(f"--root {options.root}: there is no README.md with a docs/results folder beside it.")
    if options.name is not None and len(options.runs) != 1:
        raise ConfigError("--name names the copy of one run; give one run.")
    docs = Documentation(folder, readme, is_current, algorithm_pages(options.root), departs)
    if options.check:
        old = outdated(docs)
        print_text("\n".join([f"not up to date: {path}" for path in old] or ["all up to date"]))
        return 2 if old else 0
    copies: list[Path] = []
    for run in options.runs:
        record = read_record(run)
        check_run_files(run, record)
        check_numbers(run, record)
        copies.append(publish(run, folder, options.name))
        print_text(f"copied to {copies[-1]}")
    for path in write_outdated(docs):
        print_text(f"wrote {path}")
    if copies:
        print_text(format_next(after_report(copies)))
    return 0


def algorithm_pages(root: Path) -> Pages:
    """Return the generated part of the page about algorithms, if the repository has that page.

    Args:
        root: The repository.
    """
    path, conf = root / "docs" / "algorithms.md", root / "conf"
    if not path.is_file() or not conf.is_dir():
        return no_pages
    page = Page(path, published_settings(conf))

    def pages(entries: Sequence[Entry]) -> Mapping[Path, str]:
        return {path: format_page(page, entries, "results")}

    return pages


def is_current(record: RunRecord) -> bool:
    """Return whether a record's overrides still give the same configuration and the same published number."""
    try:
        today = Composer().settings(record.overrides, on_this_machine=False).resolved
    except ConfigError:
        return False
    return config_hash(today) == config_hash(record.config) and _published(today) == _published(record.config)


def departs(record: RunRecord) -> str:
    """Return the departures in the header of a record's experiment; empty if the record has no published number."""
    return "" if record.reference is None else stated_departures(record.experiment)


def _published(config: Mapping[str, Any]) -> list[Any]:
    """The published number behind a verdict. The text beside it may change."""
    reference = config.get("reference") or {}
    return [reference.get(key) for key in ("metric", "value", "ci95")]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="metaexp report", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="a finished run to publish")
    parser.add_argument(
        "--name", help="the name of the copy (default: that of its experiment, and -seed<k> for further seeds)"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing, and list what is out of date (exit code 2)"
    )
    parser.add_argument(
        "--root", type=Path, default=Path(), metavar="DIR", help="the repository (default: the current folder)"
    )
    return parser
