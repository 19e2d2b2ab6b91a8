"""``metaexp data``: find or download a dataset, verify it, and describe it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from metaexp.cli.arguments import Options, make_parser, parse, print_help
from metaexp.config.changed_data import changes_of
from metaexp.config.classes.make import make
from metaexp.config.classes.values import format_nearest
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings
from metaexp.core.errors import ConfigError
from metaexp.core.terminal_text import print_text
from metaexp.data.base import Dataset
from metaexp.data.mapped.placement import use_placement
from metaexp.results.display.next_steps import after_data, format_next, with_changes
from metaexp.run.folder import check_writable

WORDS = ("list", "show", "verify", "prepare")
"""What may come first on the command line, in place of an override."""
_FIGURE_SUFFIXES = (".png", ".svg", ".pdf")
_OVERRIDES = """\
commands:
  metaexp data list                              every dataset: whether its files are here, where, and what to do if not
  metaexp data show omniglot                     where it comes from, licence, splits, classes, digest; fetches nothing
  metaexp data verify omniglot                   compares its files with their digests; exit code 3 if one is damaged
  metaexp data prepare omniglot                  finds or fetches it and prepares it for training

overrides:
  metaexp data dataset=omniglot                  the same as prepare
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
    """Run ``metaexp data`` and return its exit code."""
    parser = make_parser(
        "data",
        "List datasets; find or download one, verify it, prepare it for training, and describe it.",
        "COMMAND or OVERRIDE",
    )
    parser.add_argument("--figure", type=Path, metavar="FILE.png", help="also draw some examples of each split")
    parser.add_argument(
        "--picture", dest="figure", type=Path, help=argparse.SUPPRESS
    )  # the option's name in version 0.1
    options = parse(parser, arguments, DataOptions())
    composer = Composer(options.config_dir)
    if options.help:
        known = ", ".join(composer.groups()["dataset"])
        print_help(parser, f"{_OVERRIDES}\ndatasets: {known}\n")
        return 0
    word, *rest = options.overrides or [""]
    if options.figure is not None:
        _check_figure(options.figure)
    if word in WORDS:
        from metaexp.cli.data_actions import print_dataset, print_datasets, verify_files

        if word == "list":
            return print_datasets(composer, rest)
        name, overrides = _named(word, rest, composer)
        settings = composer.settings(overrides, Purpose.LOOK)
        dataset = make(settings.dataset, Dataset)  # type: ignore[type-abstract]
        if word == "verify":
            return verify_files(name, dataset, settings.paths.data)
        if word == "show" and not print_dataset(name, dataset, settings.paths.data):
            return 0
        with use_placement(settings.device.examples):
            more = _prepare(dataset, settings, options.figure, name if word == "prepare" else "")
        return _print_next(options, overrides, more)
    settings = composer.settings(options.overrides, Purpose.LOOK)
    dataset = make(settings.dataset, Dataset)  # type: ignore[type-abstract]
    with use_placement(settings.device.examples):
        more = _prepare(dataset, settings, options.figure)
    return _print_next(options, options.overrides, more)


def _print_next(options: DataOptions, overrides: Sequence[str], to_train: Sequence[str] | None) -> int:
    """Print what one can do with the data, and return the exit code. Nothing is trained where ``to_train`` is None."""
    words = [*options.given, *overrides]
    training = None if to_train is None else with_changes(words, to_train)
    print_text(format_next(after_data(words, training, is_drawn=options.figure is not None)))
    return 0


def _prepare(dataset: Dataset, settings: Settings, figure: Path | None, noted_as: str = "") -> Sequence[str] | None:
    """Load a dataset, and print what is in it and which tasks it allows.

    Args:
        dataset: The description of the dataset.
        settings: The configuration.
        figure: Where to draw examples; None draws nothing.
        noted_as: The name under which the digests of its files are noted; empty to note none.

    Returns:
        Overrides with which it can be trained on; None where it cannot.
    """
    from metaexp.data.inventory.allowed_tasks import Request, allowed_tasks
    from metaexp.data.inventory.overview import contact_sheet, load_and_count

    folder = settings.paths.data
    report, loaded = load_and_count(dataset, folder, lambda line: print_text(line, file=sys.stderr))
    request = Request(
        settings.dataset_name, settings.train.shape, settings.task.shape, changes_of(settings.dataset, folder)
    )
    allowed = allowed_tasks(dataset, loaded, folder, request)
    print_text("\n".join([report.format(), *allowed.lines]))
    if noted_as:
        from metaexp.cli.data_actions import note_digests

        note_digests(noted_as, dataset, folder)
    if figure is not None:
        from metaexp.results.figures.style import save

        save(contact_sheet(loaded), figure, dpi=100)
        print_text(f"  figure: {figure}")
    return allowed.words


def _named(word: str, words: Sequence[str], composer: Composer) -> tuple[str, list[str]]:
    """The name of the dataset, and the overrides that choose it."""
    chosen = [line.partition("=")[2] for line in words if line.startswith("dataset=")]
    name = words[0] if words and "=" not in words[0] else chosen[0] if chosen else ""
    known = composer.groups()["dataset"]
    if name not in known:
        what = f"there is no dataset {name}.{format_nearest(name, known)}" if name else "which dataset?"
        raise ConfigError(f"{word}: {what} Write `metaexp data {word} NAME`. Known: {', '.join(known)}.")
    return name, [*([] if chosen else [f"dataset={name}"]), *(line for line in words if line != name)]


def _check_figure(path: Path) -> None:
    """Find out before the data are loaded whether the figure can be written."""
    if path.suffix.lower() not in _FIGURE_SUFFIXES:
        raise ConfigError(f"--figure {path}: give a file that ends in {', '.join(_FIGURE_SUFFIXES)}.")
    if path.is_dir():
        raise ConfigError(f"--figure {path} is a folder; give a file.")
    check_writable(path.parent)
