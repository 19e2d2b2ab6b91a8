"""``metaexp search``: runs the trials of a search, several at once, and reports the best."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from metaexp.config.classes.targets import trust_arguments
from metaexp.config.project import own_file_options
from metaexp.core.disk.nearest import is_there
from metaexp.core.errors import ExitCode, RunFolderError
from metaexp.core.terminal_text import print_text
from metaexp.machine.signals import StopRequest, stop_on_signals, stopped_by
from metaexp.machine.threads import threads_each
from metaexp.search.best import write_best
from metaexp.search.files import check_study_file
from metaexp.search.point import Point
from metaexp.search.prepare import Prepared
from metaexp.search.queue import TrialQueue
from metaexp.search.study import Study
from metaexp.search.summary import (
    SearchResult,
    best_of,
    format_earlier_test,
    format_opening,
    format_table,
    trial_folder,
    write_report,
)
from metaexp.sweep.data_check import refusal, unusable_data
from metaexp.sweep.folder import SWEEP_FILE, Sweep, explain_moved
from metaexp.sweep.processes.pool import Pool, Start, explain_stop_at_once, format_saved
from metaexp.sweep.processes.warm_start import open_job_starter
from metaexp.tracking.wandb_names import notes_of_one_run


def search(prepared: Prepared, overrides: Sequence[str], config_dir: Path | None, config_name: str = "config") -> int:
    """Run a search, or continue it.

    Args:
        prepared: The checked search.
        overrides: Overrides of the command line.
        config_dir: The user's own configuration folder; None if there is none.
        config_name: Name of the root file.

    Returns:
        The exit code: 0, or 10 if a trial failed. A trial whose numbers are not finite is a result, not a failure.

    Raises:
        DataError: No trial could load its data.
        RunFolderError: The folder has other files in it, or another search.
        Interrupted: SIGINT or SIGTERM came. The running trials have saved and stopped.
    """
    for note in (*prepared.notes, *notes_of_one_run("trial")):
        print_text(note, flush=True)
    words = ["metaexp", "search", *own_file_options(config_dir, config_name, trust_arguments()), *overrides]
    is_new = not (prepared.path / SWEEP_FILE).exists()
    if is_new:
        _check_data_of_new(prepared, words)
    place, stop = prepared.open(words), StopRequest()
    with explain_stop_at_once(stop, "trials", place.path, shlex.join(words)):
        study, queue = _run(prepared, place, stop, is_new=is_new)
        if stop:
            saved = format_saved("trials", place.path, queue.unsaved)
            raise stopped_by(stop.signal_number, saved, shlex.join(words))
        found = SearchResult(prepared, study.points(), study.importances(), queue.exhausted, overrides)
        return _report(found, config_dir)


def _check_data_of_new(prepared: Prepared, words: Sequence[str]) -> None:
    """Refuse a new search none of whose trials could load its data, before there is a folder.

    Raises:
        MetaexpError: The data cannot be loaded.
        Interrupted: A signal came.
    """
    stop = StopRequest()
    with stop_on_signals(stop), open_job_starter(trust_arguments(), 1, print_text, fork=False) as begin:
        _check_data(prepared, begin, stop)
    if stop:
        raise stopped_by(stop.signal_number, " before a trial began", shlex.join(words))


def _check_data(prepared: Prepared, begin: Start, stop: StopRequest) -> None:
    """Load the data of the corners in a process of their own.

    Raises:
        MetaexpError: None of them can be loaded.
    """
    found = unusable_data(prepared.corners, begin, partial(print_text, flush=True), lambda: bool(stop))
    if not stop and sum(len(data.jobs) for data in found) == len(prepared.corners):
        raise refusal(found, 1)


def _run(prepared: Prepared, place: Sweep, stop: StopRequest, *, is_new: bool) -> tuple[Study, TrialQueue]:
    """Run the trials that are left, until a signal comes. Returns the study and the queue, which has ended.

    Data that have gone since the search began are found first. Each trial would fail, and would count as tried.
    """
    check_study_file(place.path, prepared.options.storage)
    study = Study(place.path, prepared.options, prepared.space.dimensions, prepared.metric, prepared.validated_every)
    study.belong_to(prepared.digest)
    threads = threads_each(prepared.options.workers)
    with (
        stop_on_signals(stop),
        open_job_starter(trust_arguments(), threads, print_text, fork=prepared.options.fork) as begin,
    ):
        queue = TrialQueue(prepared, place, study, begin)
        if not is_new and queue.has_more():
            _check_data(prepared, begin, stop)
        print_text("\n".join(format_opening(prepared, study.points())), flush=True)
        with explain_moved(place.path, "search.folder"):
            Pool(queue, prepared.options.workers).run(lambda: bool(stop))
        queue.warnings.close()
    return study, queue


def _report(found: SearchResult, config_dir: Path | None) -> int:
    """Write and print what was found, test the best trial if the user asked for it, and return the exit code."""
    write_report(found)
    best = best_of(found)
    print_text(format_table(found), flush=True)
    _draw(found)
    if best is not None and is_there(trial_folder(found, best)):
        if problem := _write_best(found, best):
            print_text(problem, flush=True)
            return ExitCode.JOBS_FAILED
        if found.prepared.options.test_best and found.is_done:
            _test(trial_folder(found, best), config_dir)
    return ExitCode.JOBS_FAILED if found.failed_badly(ExitCode.NOT_FINITE) else 0


def _draw(found: SearchResult) -> None:
    """Draw the figures. Where that fails, only warn: the results are there."""
    from metaexp.search.figures import draw_search  # imports matplotlib

    try:
        for path in draw_search(found):
            print_text(f"figure: {path}")
    except OSError as error:
        print_text(f"warning: the figures cannot be written ({error.strerror}).")


def _write_best(found: SearchResult, best: Point) -> str:
    """Write the best trial as an experiment; return what is wrong with its files, or an empty text."""
    try:
        write_best(found, best)
    except RunFolderError as error:
        return f"best/experiment/best.yaml is not written: {error}"
    return ""


def _test(folder: Path, config_dir: Path | None) -> None:
    """Test the best trial once. If it was tested before, print that result."""
    before = format_earlier_test(folder)
    if before:
        print_text(before)
        return
    from metaexp.results.display.terminal import print_evaluation
    from metaexp.run.evaluation.evaluate import evaluate_run

    print_evaluation(*evaluate_run(folder, [], config_dir))
