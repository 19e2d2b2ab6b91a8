"""``metaexp search``: trials, some at once, until all are done; then what was found."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from metaexp.config.classes.targets import trusted
from metaexp.core.errors import ExitCode
from metaexp.core.terminal_text import print_text
from metaexp.machine.signals import Interrupted, StopRequest, stop_on_signals
from metaexp.machine.threads import threads_each
from metaexp.search.best import write_best
from metaexp.search.prepare import Prepared
from metaexp.search.queue import TrialQueue
from metaexp.search.study import Study
from metaexp.search.summary import Found, best_of, opening, table, tested_before, write_report
from metaexp.sweep.job_process import start
from metaexp.sweep.pool import Pool


def search(prepared: Prepared, overrides: Sequence[str], config_dir: Path | None) -> int:
    """Begin or continue a search; returns the exit code, 10 if a trial failed that should not have.

    overrides: of the command that asked for it. A point whose numbers are not finite is an answer, and no failure.
    Raises RunFolderError for a folder that holds something else, Interrupted after all trials saved.
    """
    place = prepared.open(overrides)
    study = Study(place.path, prepared.options, prepared.space.dimensions, prepared.metric, prepared.validated_every)
    begin = partial(start, trusted=trusted(), threads=threads_each(prepared.options.workers))
    queue = TrialQueue(prepared, place, study, begin)
    print_text("\n".join(opening(prepared, study.points())), flush=True)
    with stop_on_signals() as stop:
        Pool(queue, prepared.options.workers).run(lambda: bool(stop))
        if stop:
            raise _interrupted(stop, prepared.path)
    found = Found(prepared, study.points(), study.importances(), queue.exhausted, overrides)
    write_report(found)
    best = best_of(found)
    if best is not None:
        write_best(found, best)
    print_text(table(found), flush=True)
    if best is not None and prepared.options.test_best and found.is_done:
        _test(prepared.path / str(best.notes["folder"]), config_dir)
    return ExitCode.JOBS_FAILED if found.failed_badly(ExitCode.NOT_FINITE) else 0


def _interrupted(stop: StopRequest, folder: Path) -> Interrupted:
    assert stop.signal_number is not None
    return Interrupted(
        f"stopped, with all trials saved in {folder}. The same command goes on where it was.", stop.signal_number
    )


def _test(folder: Path, config_dir: Path | None) -> None:
    """Test the best trial, once: a second time, say what came out."""
    before = tested_before(folder)
    if before:
        print_text(before)
        return
    from metaexp.results.terminal import print_evaluation
    from metaexp.run.evaluate import evaluate_run

    print_evaluation(*evaluate_run(folder, [], config_dir))
