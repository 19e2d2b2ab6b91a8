"""``metaexp data``: find or download a dataset, verify it, and describe it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from metaexp.cli.arguments import Options, make_parser, parse
from metaexp.config.classes.make import make
from metaexp.config.compose import Composer
from metaexp.core.errors import ConfigError
from metaexp.core.terminal_text import print_text
from metaexp.data.base import Dataset
from metaexp.run.folder import check_writable

_FIGURE_SUFFIXES = (".png", ".svg", ".pdf")
_OVERRIDES = """\
overrides:
  metaexp data dataset=omniglot                  prints splits, classes, digest and preprocessing
  metaexp data dataset=omniglot dataset.split=vinyals --figure omniglot.png
  METAEXP_DATA=... or paths.data=...             the folder with the data
"""


class DataOptions(Options):
    """Options of ``metaexp data``.

    Attributes:
        figure: Where to draw examples; None draws nothing.
    """

    figure: Path | None


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp data`` and return its exit code.

    Args:
        arguments: The arguments after the verb.
    """
    parser = make_parser("data", "Find or download a dataset, verify it, prepare it for training, and describe it.")
    parser.add_argument("--figure", type=Path, metavar="FILE.png", help="also draw some examples of each split")
    parser.add_argument(
        "--picture", dest="figure", type=Path, help=argparse.SUPPRESS
    )  # the option's name in version 0.1
    options = parse(parser, arguments, DataOptions())
    composer = Composer(options.config_dir)
    if options.help:
        known = ", ".join(composer.groups()["dataset"])
        print_text(f"{parser.format_help()}\n{_OVERRIDES}\ndatasets: {known}")
        return 0
    settings = composer.settings(options.overrides, on_this_machine=False, is_look=True)
    if options.figure is not None:
        _check_figure(options.figure)

    from metaexp.data.overview import contact_sheet, load_and_count

    dataset = make(settings.dataset, Dataset)  # type: ignore[type-abstract]
    report, loaded = load_and_count(dataset, settings.paths.data, lambda line: print_text(line, file=sys.stderr))
    print_text(report.format())
    if options.figure is not None:
        contact_sheet(loaded, options.figure)
        print_text(f"  figure: {options.figure}")
    return 0


def _check_figure(path: Path) -> None:
    """Find out before the data are loaded whether the figure can be written."""
    if path.suffix.lower() not in _FIGURE_SUFFIXES:
        raise ConfigError(f"--figure {path}: give a file that ends in {', '.join(_FIGURE_SUFFIXES)}.")
    if path.is_dir():
        raise ConfigError(f"--figure {path} is a folder; give a file.")
    check_writable(path.parent)
