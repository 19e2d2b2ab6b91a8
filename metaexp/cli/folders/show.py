"""``metaexp show FOLDER``: what a run, a sweep or a search is, its settings, results and files, and what comes next."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from metaexp.cli.arguments import Parser, print_origin
from metaexp.config.project import use_own_files
from metaexp.core.terminal_text import print_text

_DESCRIPTION = """\
Show a run, a sweep or a search: how far it is, its results, the file that it has for each group of the configuration
(such as model=conv4), the settings that differ from the defaults, its files, and what one would do next. Only the
folder is read."""


class _Options(argparse.Namespace):
    folder: Path
    config_dir: Path | None
    trust: list[str]


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp show`` and return its exit code."""
    options = _parser().parse_args(arguments, namespace=_Options())

    from metaexp.folders.show import format_found, found_at

    found = found_at(options.folder.expanduser())
    own = use_own_files(options.config_dir, options.trust)
    print_origin(own)
    print_text(format_found(found, own.config_dir))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser("show", _DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of a run, a sweep or a search")
    parser.add_argument(
        "-cd", "--config-dir", type=Path, metavar="DIR", help="configuration files of your own, for their defaults"
    )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="allow its classes, for their defaults"
    )
    return parser
