"""``metaexp leaderboard``: a page of runs whose weights were evaluated again before they appear on it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from metaexp.cli.arguments import Parser, print_origin, whole_number
from metaexp.compare.find import run_folders
from metaexp.config.compose import Composer
from metaexp.config.identity import config_hash
from metaexp.config.project import use_own_files
from metaexp.core.counted import counted
from metaexp.core.disk.files import encode_text, write_atomically
from metaexp.core.errors import ConfigError, MetaexpError, RunFolderError, first_line
from metaexp.core.terminal_text import make_console, print_text
from metaexp.machine.signals import stopped_by
from metaexp.report.checked import Checked
from metaexp.report.leaderboard import LeftOut, Place, format_leaderboard
from metaexp.report.publish import WEIGHTS
from metaexp.report.rows import Entry
from metaexp.reproduce.claims import gives, later_row_record, of_all_episodes, row_record
from metaexp.reproduce.from_weights import ReproducedTest, compare_test
from metaexp.reproduce.planned_tests import PlannedTest, plan_later_tests, plan_test
from metaexp.reproduce.retests.queue import WantedTest
from metaexp.results.record import RunRecord
from metaexp.run.integrity import check_numbers

if TYPE_CHECKING:
    from metaexp.run.evaluation.evaluate import Retested

_DESCRIPTION = """\
Write a page that ranks finished runs: for each dataset and task the learners, with filters, intervals, costs, commands
and weights. Each run's weights are evaluated again first. A run whose weights do not give its number is left out, with
the reason. Omniglot and other data that are not made up are read from the folder METAEXP_DATA.

What was measured is kept in the user's cache folder. The same weights, settings, data and versions are not evaluated
twice, so a command that was interrupted goes on where it was."""


class _Page:
    """The runs of a page, while their weights are evaluated again.

    Attributes:
        entries: The rows of runs whose weights gave their numbers.
        left_out: The other runs.
        places: Name of a run -> where it is.
    """

    def __init__(self, output: Path, composer: Composer, n_episodes: int | None) -> None:
        self.entries: list[Entry] = []
        self.left_out: list[LeftOut] = []
        self.places: dict[str, Place] = {}
        self._output = output
        self._composer = composer
        self._n_episodes = n_episodes
        self._planned: dict[str, list[PlannedTest]] = {}
        self._by_test: dict[WantedTest, tuple[str, str, PlannedTest]] = {}
        self._found: dict[str, ReproducedTest] = {}

    def plan(self, runs: Sequence[tuple[str, Path]]) -> list[WantedTest]:
        """Check the files of runs, and return the tests to make again.

        Args:
            runs: Names and folders.
        """
        for name, folder in runs:
            if name in self._planned:
                self.leave_out(name, RunFolderError(f"another run has this name; rename {folder}"))
                continue
            try:
                self._planned[name] = [plan_test(folder, (), self._n_episodes)]
            except MetaexpError as error:
                self.leave_out(name, error)
                continue
            try:
                self._planned[name] += plan_later_tests(folder, (), self._n_episodes)
            except MetaexpError as error:
                self.leave_out(f"later tests of {name}", error)
        for name, tests in self._planned.items():
            for test in tests:
                title = f"{name}, tested with {' '.join(test.changes)}" if test.changes else name
                self._by_test[test.wanted._replace(name=title)] = (name, title, test)
        return list(self._by_test)

    def note(self, wanted: WantedTest, found: Retested | MetaexpError) -> None:
        """Take the end of a test: either its weights gave the recorded number, or it is left out."""
        _, title, planned = self._by_test[wanted]
        try:
            if isinstance(found, MetaexpError):
                raise found
            again = compare_test(planned, found)
            if not again.agrees:
                raise RunFolderError(_format_disagreement(again))
            if not planned.changes:
                check_numbers(planned.folder, planned.whole)
        except MetaexpError as error:
            self.leave_out(title, error)
            return
        self._found[title] = again
        when = f"before, on {found.evaluation.finished[:10]}" if found.is_recalled else "again"
        print_text(f"measured {when}: {title}", flush=True)

    def add_rows(self) -> None:
        """Add a row for each test that gave its number. Later tests of a run that did not are left out, too."""
        of_run: dict[Path, RunRecord] = {}
        for name, title, planned in self._by_test.values():
            if title not in self._found:
                continue
            again, folder = self._found[title], planned.folder
            measured = again.evaluation if again.whole is None else of_all_episodes(again.evaluation, again.whole)
            try:
                if not planned.changes:
                    record = of_run[folder] = row_record(planned.whole, measured, self._composer)
                    self.places[title] = self._place(folder, record)
                elif folder in of_run:
                    experiment = planned.whole.experiment
                    record = later_row_record(name, of_run[folder], measured, experiment, self._composer)
                else:
                    raise RunFolderError("its run was left out.")
            except MetaexpError as error:
                self.leave_out(title, error)
                continue
            self.entries.append(
                Entry(
                    name, record, False, test=again.tested_with, configuration=_configuration(record),
                    checked=_checked(again),
                )
            )  # fmt: skip

    def _place(self, folder: Path, record: RunRecord) -> Place:
        relative = Path(os.path.relpath(folder / WEIGHTS[1], self._output.absolute().parent))
        address = quote(os.fsencode(relative.as_posix()))  # a name need not be UTF-8
        return Place(str(folder), address, gives(record, self._composer))

    def leave_out(self, title: str, error: MetaexpError) -> None:
        """Leave a run out, and print why.

        Args:
            title: What the page calls it.
            error: Why.
        """
        self.left_out.append(LeftOut(title, first_line(error)))
        print_text(f"left out: {title}: {self.left_out[-1].reason}", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp leaderboard`` and return its exit code."""
    options = _parser().parse_args(arguments)
    output: Path = options.output
    if output.suffix != ".html" or not output.absolute().parent.is_dir():
        raise ConfigError(f"--output {output}: give a file .html in a folder that exists.")
    own = use_own_files(None, options.trust)
    print_origin(own)
    page = _Page(output, Composer(own.config_dir), options.episodes)
    runs, removed = _runs(options.runs)
    for folder in removed:
        page.leave_out(folder.name, RunFolderError("was removed, with its folder"))
    wanted = page.plan(runs)  # a wrong path is reported before anything is evaluated
    ended: list[WantedTest] = []

    def note(test: WantedTest, found: Retested | MetaexpError) -> None:
        ended.append(test)
        page.note(test, found)

    from metaexp.reproduce.retests.run import retest_all  # it imports torch
    from metaexp.run.progress import Lines

    try:
        retest_all(wanted, Lines(make_console(to_errors=True)), note, recalls=not options.again)
    except KeyboardInterrupt:
        done = f" after {len(ended)} of {counted(len(wanted), 'test')}, whose results are kept. No page was written"
        raise stopped_by(None, done, "the same command" + (", without --again" if options.again else "")) from None
    page.add_rows()
    page.left_out.sort(key=lambda run: run.name)  # not in the order in which tests have ended
    write_atomically(output, encode_text(format_leaderboard(page.entries, page.places, page.left_out)))
    print_text(f"page: {output}")
    return 0


def _checked(again: ReproducedTest) -> Checked:
    whole = again.whole or again.recorded
    assert whole.test is not None
    found = again.evaluation
    return Checked(
        n_tested=found.test.n_episodes, n_episodes=whole.test.n_episodes, finished=found.finished,
        version=found.versions["metaexp"], sources=again.sources, torch=found.versions["torch"],
    )  # fmt: skip


def _format_disagreement(again: ReproducedTest) -> str:
    found, recorded, where = again.found, again.recorded.test, "file" if again.tested_with else "record"
    assert recorded is not None  # plan_test refuses other runs
    if found.n_episodes != recorded.n_episodes:
        tested = counted(found.n_episodes, "episode")
        return f"its weights were tested on {tested}, and its {where} says {recorded.n_episodes}."
    part = "" if again.whole is None else f" for the first {counted(found.n_episodes, 'episode')}"
    return f"its weights give {found.mean:.6g}{part}, and its {where} says {recorded.mean:.6g}."


def _configuration(record: RunRecord) -> str:
    """What decides the numbers of a run, but for its seed and the run that it goes on from."""
    settings = config_hash({key: value for key, value in record.config.items() if key != "seed"})
    code = record.own_code.digest if record.own_code else ""
    return f"{settings} {code} {record.data_hash} {record.parent is not None}"


def _runs(paths: Sequence[Path]) -> tuple[list[tuple[str, Path]], list[Path]]:
    """Names and folders of the runs in or below some paths, as ``metaexp compare`` finds them; removed folders."""
    found: dict[Path, tuple[str, Path]] = {}
    removed: list[Path] = []
    for path in paths:
        for folder in run_folders([path], removed=removed):
            name = folder.resolve().name if folder == path else folder.relative_to(path).as_posix()
            found.setdefault(folder.resolve(), (name, folder))
    return list(found.values()), removed


def _parser() -> argparse.ArgumentParser:
    parser = Parser("leaderboard", _DESCRIPTION, allow_abbrev=True)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, or a folder of run folders")
    parser.add_argument(
        "--output", type=Path, default=Path("leaderboard.html"), metavar="FILE", help="the page (leaderboard.html)"
    )
    parser.add_argument(
        "--episodes",
        type=whole_number,
        metavar="N",
        help="evaluate only the first N episodes of each test; the page then says so, and shows the record's number",
    )
    parser.add_argument("--again", action="store_true", help="evaluate also what was evaluated before")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="allow runs to use classes of this package"
    )
    return parser
