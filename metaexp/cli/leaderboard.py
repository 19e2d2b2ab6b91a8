"""``metaexp leaderboard``: a page of runs whose weights were evaluated again before they appear on it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from metaexp.cli.arguments import Parser, print_origin
from metaexp.compare.find import run_folders
from metaexp.config.compose import Composer
from metaexp.config.identity import config_hash
from metaexp.config.project import use_own_files
from metaexp.core.counted import counted
from metaexp.core.disk.files import encode_text, write_atomically
from metaexp.core.errors import ConfigError, MetaexpError, RunFolderError, first_line
from metaexp.core.terminal_text import print_text
from metaexp.report.leaderboard import LeftOut, Place, format_leaderboard
from metaexp.report.publish import WEIGHTS
from metaexp.report.rows import Entry, format_title
from metaexp.reproduce.claims import gives, later_row_record, row_record
from metaexp.reproduce.from_weights import ReproducedTest, reproduce_later_tests, reproduce_test
from metaexp.results.record import RunRecord
from metaexp.run.integrity import check_numbers

_DESCRIPTION = """\
Write a page that ranks finished runs: for each dataset and task the learners, with filters, intervals, costs, commands
and weights. Each run's weights are evaluated again first. A run whose weights do not give its number is left out, with
the reason. Omniglot and other data that are not made up are read from the folder METAEXP_DATA."""


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp leaderboard`` and return its exit code.

    Args:
        arguments: The arguments after the verb.
    """
    options = _parser().parse_args(arguments)
    output: Path = options.output
    if output.suffix != ".html" or not output.absolute().parent.is_dir():
        raise ConfigError(f"--output {output}: give a file .html in a folder that exists.")
    own = use_own_files(None, options.trust)
    print_origin(own)
    composer = Composer(own.config_dir)
    entries: list[Entry] = []
    left_out: list[LeftOut] = []
    places: dict[str, Place] = {}
    for name, folder in _runs(options.runs):  # a wrong path is reported before anything is evaluated
        if any(entry.name == name for entry in entries):
            left_out.append(LeftOut(name, f"another run has this name; rename {folder}"))
            print_text(f"left out: {name}: {left_out[-1].reason}")
            continue
        try:
            again = reproduce_test(folder)
            if not again.agrees:
                raise RunFolderError(_format_disagreement(again, "record"))
            check_numbers(folder, again.recorded)
            record = row_record(again.recorded, again.evaluation, composer)
        except MetaexpError as error:
            left_out.append(LeftOut(name, first_line(error)))
            print_text(f"left out: {name}: {left_out[-1].reason}")
            continue
        print_text(f"measured again: {name}")
        entries.append(Entry(name, record, False, configuration=_configuration(record)))
        _add_later_tests(entries[-1], folder, composer, entries, left_out)
        relative = Path(os.path.relpath(folder / WEIGHTS[1], output.absolute().parent))
        address = quote(os.fsencode(relative.as_posix()))  # a name need not be UTF-8
        places[name] = Place(str(folder), address, gives(record, composer))
    write_atomically(output, encode_text(format_leaderboard(entries, places, left_out)))
    print_text(f"page: {output}")
    return 0


def _format_disagreement(again: ReproducedTest, where: str) -> str:
    found, recorded = again.found, again.recorded.test
    assert recorded is not None  # reproduce_test refuses other runs
    if found.n_episodes != recorded.n_episodes:
        tested = counted(found.n_episodes, "episode")
        return f"its weights were tested on {tested}, and its {where} says {recorded.n_episodes}."
    return f"its weights give {found.mean:.6g}, and its {where} says {recorded.mean:.6g}."


def _add_later_tests(
    run: Entry, folder: Path, composer: Composer, entries: list[Entry], left_out: list[LeftOut]
) -> None:
    """Make the published later tests of a run again, and add those that give their numbers."""
    name = run.name
    try:
        for again in reproduce_later_tests(folder):
            experiment = again.recorded.experiment
            record = later_row_record(name, run.record, again.evaluation, experiment, composer)
            entry = Entry(name, record, False, test=again.tested_with, configuration=_configuration(record))
            if again.agrees:
                print_text(f"measured again: {format_title(entry)}")
                entries.append(entry)
                continue
            reason = _format_disagreement(again, "file")
            left_out.append(LeftOut(format_title(entry), reason))
            print_text(f"left out: {format_title(entry)}: {reason}")
    except MetaexpError as error:
        left_out.append(LeftOut(f"later tests of {name}", first_line(error)))
        print_text(f"left out: later tests of {name}: {left_out[-1].reason}")


def _configuration(record: RunRecord) -> str:
    """What decides the numbers of a run, but for its seed and the run that it goes on from."""
    settings = config_hash({key: value for key, value in record.config.items() if key != "seed"})
    code = record.own_code.digest if record.own_code else ""
    return f"{settings} {code} {record.data_hash} {record.parent is not None}"


def _runs(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Names and folders of the runs in or below some paths, found as ``metaexp compare`` finds them, each once."""
    found: dict[Path, tuple[str, Path]] = {}
    for path in paths:
        for folder in run_folders([path]):
            name = folder.resolve().name if folder == path else folder.relative_to(path).as_posix()
            found.setdefault(folder.resolve(), (name, folder))
    return list(found.values())


def _parser() -> argparse.ArgumentParser:
    parser = Parser("leaderboard", _DESCRIPTION, allow_abbrev=True)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, or a folder of run folders")
    parser.add_argument(
        "--output", type=Path, default=Path("leaderboard.html"), metavar="FILE", help="the page (leaderboard.html)"
    )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="allow runs to use classes of this package"
    )
    return parser
