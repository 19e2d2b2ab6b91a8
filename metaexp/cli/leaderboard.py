"""``metaexp leaderboard``: a page of runs whose weights were evaluated again before they appear on it."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from metaexp.cli.arguments import Parser
from metaexp.core.errors import ConfigError, MetaexpError, RunFolderError
from metaexp.core.files import encode_text, write_atomically
from metaexp.core.terminal_text import print_text
from metaexp.report.leaderboard import LeftOut, leaderboard_html
from metaexp.report.publish import WEIGHTS
from metaexp.report.rows import Entry
from metaexp.results.record import RECORD_FILE, RunRecord, Score, read_record
from metaexp.run.integrity import check_run_files

_DESCRIPTION = """\
Write a page that ranks finished runs: for each dataset and task the learners, with filters, intervals, costs, commands
and weights. Each run's weights are evaluated again first. A run whose weights do not give its number is left out, with
the reason. Omniglot and other data that are not made up are read from the folder METAEXP_DATA."""
_FILES = (RECORD_FILE, "config.yaml", "choices.yaml", *WEIGHTS)


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp leaderboard`` and return its exit code.

    Args:
        arguments: The arguments after the verb.
    """
    options = _parser().parse_args(arguments)
    output: Path = options.output
    if output.suffix != ".html" or not output.absolute().parent.is_dir():
        raise ConfigError(f"--output {output}: give a file .html in a folder that exists.")
    entries: list[Entry] = []
    left_out: list[LeftOut] = []
    links: dict[str, str] = {}
    for folder in list(_runs(options.runs)):  # a wrong path is reported before anything is evaluated
        name = folder.resolve().name
        if any(entry.name == name for entry in entries):
            left_out.append(LeftOut(name, f"another run has this name; rename {folder}"))
            continue
        try:
            record = read_record(folder)
            check_run_files(folder, record)
            check_again(folder, record)
        except MetaexpError as error:
            left_out.append(LeftOut(name, str(error).splitlines()[0]))
            print_text(f"left out: {name}: {left_out[-1].reason}")
            continue
        print_text(f"measured again: {name}")
        entries.append(Entry(name, record, False))
        links[name] = quote(Path(os.path.relpath(folder / WEIGHTS[1], output.absolute().parent)).as_posix())
    write_atomically(output, encode_text(leaderboard_html(entries, links, left_out)))
    print_text(f"page: {output}")
    return 0


def check_again(folder: Path, record: RunRecord) -> None:
    """Evaluate the selected weights of a run, in a copy, and compare with its record.

    Args:
        folder: The run folder.
        record: Its record.

    Raises:
        RunFolderError: It was not tested, has no weights, or these give another number.
    """
    from metaexp.run.evaluate import evaluate_run

    if record.status != "completed" or record.test is None:
        raise RunFolderError("only a completed run with a test result can be ranked.")
    missing = [name for name in WEIGHTS if not (folder / name).is_file()]
    if missing:
        raise RunFolderError(f"{missing[0]} is missing, so nothing shows that the number is right.")
    threads = record.device.threads if record.device else 1
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "run"
        (copy / "checkpoints").mkdir(parents=True)
        for name in _FILES:
            if (folder / name).is_file():
                shutil.copy(folder / name, copy / name)
        found = evaluate_run(copy, [f"device.threads={threads}"]).evaluation
    if found.episode_bank != record.episode_bank or not agree(found.test, record.test):
        raise RunFolderError(f"its weights give {found.test.mean:.6g}, and its record says {record.test.mean:.6g}.")


def agree(found: Score, recorded: Score) -> bool:
    """Return whether two measurements of the same weights agree, up to the rounding of another machine.

    Args:
        found: Measured now.
        recorded: In the record.
    """
    margin = 1e-3 if recorded.metric == "accuracy" else 1e-4 * abs(recorded.mean)
    same = (found.metric, found.n_episodes) == (recorded.metric, recorded.n_episodes)
    return same and abs(found.mean - recorded.mean) <= margin


def _runs(paths: Sequence[Path]) -> Iterator[Path]:
    """The run folders that are named, and those directly in folders that are named."""
    for path in paths:
        if (path / RECORD_FILE).is_file():
            yield path
            continue
        found = sorted(record.parent for record in path.glob(f"*/{RECORD_FILE}"))
        if not found:
            raise RunFolderError(f"{path} is no run folder, and has none in it.")
        yield from found


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="metaexp leaderboard", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, or a folder of run folders")
    parser.add_argument(
        "--output", type=Path, default=Path("leaderboard.html"), metavar="FILE", help="the page (leaderboard.html)"
    )
    return parser
