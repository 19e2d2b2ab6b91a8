"""``metaexp rm FOLDER ...``: remove runs, sweeps or searches that no process uses."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from metaexp.cli.arguments import Parser
from metaexp.core.errors import ConfigError, MetaexpError, RunFolderError
from metaexp.core.terminal_text import print_text
from metaexp.folders.find import Found
from metaexp.folders.listing import format_rows
from metaexp.folders.remove import check_removable, remove
from metaexp.folders.rows import row_of

_DESCRIPTION = """\
Remove the folders of runs, sweeps or searches. It lists them with their sizes, and asks on a terminal; elsewhere
it needs --yes. It refuses a folder that a process uses, one with files that metaexp does not write, a link, and a
single job of a sweep."""
_EXAMPLES = """\
examples:
  metaexp rm outputs/RUN                 lists it, and asks
  metaexp rm outputs/sweeps/SWEEP --yes  does not ask
"""


class _Options(argparse.Namespace):
    folders: list[Path]
    yes: bool


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp rm`` and return its exit code."""
    options = _parser().parse_args(arguments, namespace=_Options())
    is_asked = sys.stdin is not None and sys.stdin.isatty()
    found = _check([path.expanduser() for path in options.folders])
    rows = [row_of(item) for item in found]
    print_text(format_rows(rows, ""), flush=True)
    if not options.yes and not is_asked:
        raise ConfigError("add --yes to remove what is listed above; there is no terminal to ask on.")
    if not options.yes and not _agrees():
        print_text("nothing was removed")
        return 0
    for item in found:
        remove(item)
        print_text(f"removed: {item.path}", flush=True)
    return 0


def _check(folders: Sequence[Path]) -> list[Found]:
    """The folders, each once. Raises RunFolderError with all that is wrong before anything is removed."""
    found: dict[Path, Found] = {}
    problems: list[str] = []
    for folder in folders:
        try:
            found.setdefault(folder.absolute(), check_removable(folder))
        except MetaexpError as error:
            problems.append(str(error))
    if problems:
        raise RunFolderError("\n".join(problems))
    return list(found.values())


def _agrees() -> bool:
    print_text("remove these? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _parser() -> argparse.ArgumentParser:
    parser = Parser("rm", _DESCRIPTION, epilog=_EXAMPLES)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="a run, a sweep or a search")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    return parser
