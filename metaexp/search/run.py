"""``metaexp search``: trials, some at once, until all are done; then what was found."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from metaexp.config.classes.targets import trusted
from metaexp.core.errors import ExitCode
from metaexp.machine.signals import Interrupted, StopRequest, stop_on_signals
from metaexp.machine.threads import threads_each
from metaexp.search.best import write_best
from metaexp.search.prepare import Prepared
from metaexp.search.queue import TrialQueue
from metaexp.search.study import Study
from metaexp.search.summary import Found, best_of, line, opening, table, tested_before, write_report
from metaexp.search.trial import LiveTrial
from metaexp.sweep.job_process import JobProcess, start

_SECONDS_BETWEEN_LOOKS = 0.1


def search(prepared: Prepared, overrides: Sequence[str], config_dir: Path | None) -> int:
    """Begin or continue a search; returns the exit code, 10 if a trial failed that should not have.

    overrides: of the command that asked for it. A point whose numbers are not finite is an answer, and no failure.
    Raises RunFolderError for a folder that holds something else, Interrupted after all trials saved.
    """
    place = prepared.open(overrides)
    study = Study(place.path, prepared.options, prepared.space.dimensions, prepared.metric, prepared.validated_every)
    queue = TrialQueue(prepared, place, study)
    print("\n".join(opening(prepared, study.points())), flush=True)
    with stop_on_signals() as stop:
        Workers(prepared, queue, study).run(stop)
        if stop:
            raise _interrupted(stop, prepared.path)
    found = Found(prepared, study.points(), study.importances(), queue.exhausted, overrides)
    write_report(found)
    best = best_of(found)
    if best is not None:
        write_best(found, best)
    print(table(found), flush=True)
    if best is not None and prepared.options.test_best and found.is_done:
        _test(prepared.path / str(best.notes["folder"]), config_dir)
    return ExitCode.JOBS_FAILED if found.failed_badly(ExitCode.NOT_FINITE) else 0


class Workers:
    """Runs ``search.workers`` trials at once, each in a process of its own."""

    def __init__(self, prepared: Prepared, queue: TrialQueue, study: Study) -> None:
        self.prepared = prepared
        self.queue = queue
        self.study = study
        self.threads = threads_each(prepared.options.workers)
        self.live: list[LiveTrial] = []

    def run(self, stop: StopRequest) -> None:
        """Until no trial is left to take and those that were taken have ended, or until ``stop`` says to stop."""
        more = True
        try:
            while self.live or (more and not stop):
                while more and not stop and len(self.live) < self.prepared.options.workers:
                    more = self._begin()
                if stop:
                    for trial in self.live:
                        trial.stop()
                more = self._gather() or more
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            for trial in self.live:
                trial.kill()

    def _begin(self) -> bool:
        claim = self.queue.next()
        if claim is None:
            return False
        if not claim.is_new:
            print(f"trial {claim.point.number} ({claim.job.what}): goes on", flush=True)
        self.live.append(LiveTrial(claim, self.study, self.prepared.metric, self._start))
        return True

    def _gather(self) -> bool:
        """Say how trials ended; True where one did, so that there may be another to take."""
        ended = [(trial, end) for trial in self.live if (end := trial.look()) is not None]
        for trial, end in ended:
            self.live.remove(trial)
            trial.claim.release()
            if not trial.stopping:
                print(line(trial.claim.job, end, self.prepared.metric), flush=True)
        return bool(ended)

    def _start(self, folder: Path) -> JobProcess:
        return start(folder, trusted(), self.threads)


def _interrupted(stop: StopRequest, folder: Path) -> Interrupted:
    assert stop.signal_number is not None
    return Interrupted(
        f"stopped, with all trials saved in {folder}. The same command goes on where it was.", stop.signal_number
    )


def _test(folder: Path, config_dir: Path | None) -> None:
    """Test the best trial, once: a second time, say what came out."""
    before = tested_before(folder)
    if before:
        print(before)
        return
    from metaexp.results.terminal import print_evaluation
    from metaexp.run.evaluate import evaluate_run

    print_evaluation(*evaluate_run(folder, [], config_dir))
