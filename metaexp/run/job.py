"""A run from settings to a finished record, and a run taken up again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from metaexp.config.identity import folder_name
from metaexp.config.schema import Settings
from metaexp.core.errors import DataError, RunFolderError
from metaexp.machine.device import Compute
from metaexp.machine.failures import explaining
from metaexp.machine.ranks import ALONE, Ranks
from metaexp.machine.signals import stop_on_signals
from metaexp.results.record import RECORD_FILE, RunRecord, read_record
from metaexp.results.wording import say_order, say_task
from metaexp.run.build import Parts, started
from metaexp.run.checkpoint import Checkpoints
from metaexp.run.first_record import Origin, first_record
from metaexp.run.folder import RunFolder, claim, existing
from metaexp.run.follower import call
from metaexp.run.progress import Display, default_display
from metaexp.run.session import Session


class Finished(NamedTuple):
    """A completed run."""

    record: RunRecord
    folder: Path


def run_job(
    settings: Settings,
    origin: Origin | None = None,
    folder: Path | None = None,
    display: Display | None = None,
    ranks: Ranks = ALONE,
    *,
    stop_after: int | None = None,
) -> Finished:
    """Train, validate, test and record a new run.

    folder: an empty folder to run in; None claims a new one under ``paths.outputs``. ranks: that share the run, of
    which this process is the first. stop_after: pause after so many meta-updates, with a checkpoint; the record then
    says "interrupted". Nothing is written before the data are there, are those that ``origin`` asks for, and
    everything is made. Raises MetaexpError of the kind that says what went wrong, Interrupted after a clean save; the
    record in the run folder says the same.
    """
    origin, display = origin or Origin(), display or default_display()
    if folder is not None:
        _check_unused(folder)
    call(settings, ranks)
    with explaining(), started(settings, ranks, display.line) as (compute, parts):
        _check_data(parts.dataset.digest, origin.data_hash, settings.paths.data)
        if folder is None:
            place = claim(settings.paths.outputs, folder_name(settings, datetime.now()))
        else:
            place = RunFolder(folder)
            folder.mkdir(parents=True, exist_ok=True)
        with place.held():
            _check_unused(place.path)  # once more, now that no other process can have it
            place.save_settings(settings)
            for name, text in origin.files.items():
                (place.path / name).parent.mkdir(parents=True, exist_ok=True)
                (place.path / name).write_text(text, encoding="utf-8")
            record = first_record(settings, parts, compute, origin)
            return _run(settings, parts, compute, place, record, display, ranks, stop_after)


def _check_unused(folder: Path) -> None:
    if (folder / RECORD_FILE).exists():
        raise RunFolderError(f"{folder} holds a run already. Continue it with resume={folder}.")
    if (folder / "choices.yaml").exists():
        return  # a run that was killed before it had a record
    for name in ("config.yaml", "metrics.jsonl"):
        if (folder / name).exists():
            raise RunFolderError(
                f"{folder} holds a {name} that is no run's. Choose an empty folder; nothing was written."
            )


def resume_job(
    path: Path, display: Display | None = None, ranks: Ranks = ALONE, *, stop_after: int | None = None
) -> Finished:
    """Continue the run in folder ``path`` from its newest good checkpoint, bit for bit where the machine is the same.

    stop_after: pause once so many meta-updates are done, all sessions together. A completed run is left as it is.
    Raises RunFolderError when the folder is no run's, is in use, or has damaged checkpoints only; otherwise as
    :func:`run_job`.
    """
    display = display or default_display()
    place = existing(path)
    settings = place.load_settings()
    with explaining(), place.held():
        before = read_record(path) if (path / RECORD_FILE).exists() else None
        if before is not None and before.status == "completed":
            display.line(f"{path} is complete; there is nothing to continue.")
            return Finished(before, path)
        call(settings, ranks)
        with started(settings, ranks, display.line) as (compute, parts):
            record = first_record(settings, parts, compute, Origin())
            if before is not None:
                record = _carried_over(before, record)
            return _run(settings, parts, compute, place, record, display, ranks, stop_after)


def _check_data(digest: str, expected: str | None, folder: Path) -> None:
    if expected not in (None, digest):
        raise DataError(
            f"the data are not those of the run that is to be made again: their digest is {digest}, the run's is "
            f"{expected}. The data were read from {folder}; choose another place with paths.data=..."
        )


def _run(
    settings: Settings,
    parts: Parts,
    compute: Compute,
    place: RunFolder,
    record: RunRecord,
    display: Display,
    ranks: Ranks,
    stop_after: int | None,
) -> Finished:
    request = ranks.stop_request()
    request.after = stop_after
    with _log_kept(place.log, display) as say, stop_on_signals(request) as stop:
        checkpoints = Checkpoints(place.checkpoints)
        if place.checkpoints.is_dir():
            checkpoints.tidy()
        checkpoint = checkpoints.load()
        for line in headline(record, compute, place):
            say(line)
        if checkpoint is not None:
            say(f"continues after meta-update {checkpoint.step}")
        finished = Session(settings, parts, compute, place, record, checkpoint, display, stop, ranks).run()
        return Finished(finished, place.path)


def headline(record: RunRecord, compute: Compute, place: RunFolder) -> list[str]:
    """What is about to be run, in a few lines."""
    order = "" if record.first_order is None else f", {say_order(record.first_order)} order"
    return [
        f"{record.algorithm} on {record.dataset}, {say_task(record.task)}, seed {record.seed}",
        f"{record.model}: {record.n_parameters or 0:,} meta-parameters; batch norm {record.batch_norm}{order}",
        f"device: {compute}",
        f"run folder: {place.path}",
    ]


def _carried_over(before: RunRecord, fresh: RunRecord) -> RunRecord:
    """A record for the next session: what the machine is now, and what earlier sessions knew."""
    return replace(
        fresh,
        overrides=before.overrides,
        group=before.group,
        full_steps=before.full_steps,
        deviations=before.deviations,
        exact_resume=before.exact_resume,
        started=before.started,
        git=before.git,
        versions=before.versions,
    )


@contextmanager
def _log_kept(path: Path, display: Display) -> Iterator[Callable[[str], None]]:
    """Within this block metaexp's log goes to ``path``, its warnings to the display; what is yielded says to both."""
    logger = logging.getLogger("metaexp")
    file = logging.FileHandler(path, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    shown = _ToDisplay(display)
    before = (logger.level, logger.propagate)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(file)
    logger.addHandler(shown)

    def say(text: str) -> None:
        display.line(text)
        logger.info(text)

    try:
        yield say
    finally:
        logger.level, logger.propagate = before
        logger.removeHandler(file)
        logger.removeHandler(shown)
        file.close()


class _ToDisplay(logging.Handler):
    """Warnings for the eye, without a traceback: that is in the log file."""

    def __init__(self, display: Display) -> None:
        super().__init__(logging.WARNING)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is None:
            self._display.line(f"warning: {record.getMessage()}")
