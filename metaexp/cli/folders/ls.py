"""``metaexp ls [FOLDER ...] [KEY=VALUE ...]``: runs, sweeps and searches, with state, size and result."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from metaexp.cli.arguments import Parser, split_keys
from metaexp.core.disk.outputs import usual_outputs
from metaexp.core.terminal_text import print_text
from metaexp.folders.filters import check_key, parse_filters, passing, unknown_values
from metaexp.folders.listing import format_rows, list_rows, paths_of, removed_rows, sort_rows, to_json
from metaexp.results.job_note import format_removed, removed_jobs

_DESCRIPTION = """\
List runs, sweeps and searches in or below a folder, the newest last: state, size, result and place. With a filter or
--jobs, the jobs of sweeps and the trials of searches are listed one by one."""
_EXAMPLES = """\
examples:
  metaexp ls                                       what is in outputs
  metaexp ls algorithm=maml train.steps=600        runs with these settings; any key of the configuration is a filter
  metaexp ls state=failed,stopped                  states: waiting, running, stopped, failed, completed, damaged
  metaexp ls outputs/sweeps/SWEEP --sort test      the jobs of one sweep, the best last
  metaexp ls --jobs --show algorithm.inner_lr      with a column for a setting
  metaexp ls --json                                every fact and setting, for a program
"""


class _Options(argparse.Namespace):
    words: list[str]
    jobs: bool
    sort: str
    reverse: bool
    show: list[str]
    json: bool
    folders: bool


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp ls`` and return its exit code."""
    options = _parser().parse_args(arguments, namespace=_Options())
    places, words = split_arguments(options.words)
    filters = parse_filters(words)
    looked_in = places or [place for place in [usual_outputs()] if place.exists()]  # before the first run there is none
    everything = list_rows(looked_in, with_jobs=options.jobs or bool(filters))
    removed = removed_rows(looked_in, with_jobs=options.jobs) if options.json and not filters else []
    rows = passing(everything, filters)
    for line in unknown_values(everything, filters):
        print_text(f"warning: {line}", file=sys.stderr)
    for key in [options.sort, *options.show]:
        check_key(rows, key)
    rows = sort_rows([*rows, *removed], options.sort, reverse=options.reverse)
    if options.json:
        print_text(to_json(rows))
    elif options.folders:
        print_text("".join(f"{path}\n" for path in paths_of(rows)), end="")
    else:
        print_text(format_rows(rows, _format_none(places, words), options.show))
    return 0


def split_arguments(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Separate folders from filters. An argument with ``=`` is a folder if there is such a folder.

    Args:
        words: The arguments of a command line.

    Returns:
        Folders and filters.
    """
    is_place = [_is_folder(word) for word in words]
    places = [Path(word).expanduser() for word, is_one in zip(words, is_place, strict=True) if is_one]
    return places, [word for word, is_one in zip(words, is_place, strict=True) if not is_one]


def _is_folder(word: str) -> bool:
    if "=" not in word:
        return True
    try:
        return Path(word).is_dir()
    except (OSError, ValueError):
        return False


def _format_none(places: Sequence[Path], words: Sequence[str]) -> str:
    where = ", ".join(map(str, places or [usual_outputs()]))
    removed = [folder for place in places for folder in removed_jobs(place)]
    if removed and len(places) == 1:
        return f"{where} has no run any more: {format_removed(removed)}"
    if words:
        return f"no run in {where} has {' '.join(words)}; `metaexp ls` without filters lists all"
    return f"no run, sweep or search in {where}; `metaexp train` makes one"


def _parser() -> argparse.ArgumentParser:
    parser = Parser("ls", _DESCRIPTION, epilog=_EXAMPLES)
    parser.add_argument(
        "words", nargs="*", metavar="FOLDER or KEY=VALUE", help="where to look (outputs), and what runs must have"
    )
    parser.add_argument("--jobs", action="store_true", help="list jobs and trials, not their sweeps and searches")
    parser.add_argument("--sort", default="when", metavar="KEY", help="a key of the rows or the settings (when)")
    parser.add_argument("--reverse", action="store_true", help="the largest first")
    parser.add_argument(
        "--show", type=split_keys, default=[], metavar="KEY,KEY", help="more columns, such as train.steps"
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON: every fact, and the settings")
    output.add_argument("--folders", action="store_true", help="print only the folders, one in each line")
    return parser
