"""What ``metaexp watch`` shows: the jobs of a sweep, the trials of a search or a single run, as they go on."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metaexp.core.errors import RunFolderError
from metaexp.core.json_lines import METRICS_FILE, newest_values
from metaexp.core.metric import is_hit_rate
from metaexp.core.terminal_text import wrap_lines
from metaexp.folders.find import Found, jobs
from metaexp.folders.listing import format_columns
from metaexp.folders.rows import format_reason
from metaexp.folders.state import STATES, RunState, is_in_use, read_run, steps_done
from metaexp.results.display.next_steps import format_next, step
from metaexp.results.display.wording import NOTHING, format_score, format_time, format_value
from metaexp.results.job_note import removed_jobs
from metaexp.results.job_state import LOG_FILE
from metaexp.results.progress_file import Progress, read_progress
from metaexp.results.record import FROZEN_FILE
from metaexp.run.progress import format_left
from metaexp.sweep.decide import duplicates
from metaexp.sweep.frozen_job import FrozenJob, read_frozen
from metaexp.sweep.time_left import TimeLeft, format_phase

_ENDED = ("completed", "damaged")


class Line(NamedTuple):
    """One job in the table.

    Attributes:
        name: Its number, or the name of a run's folder.
        state: How far it is.
        phase: What it is doing, and how far that is.
        step: Steps done, of how many.
        result: The newest validation, or the test of a completed run.
        rate: Steps in a second.
        seconds_left: The time that it still takes; None if it is not known.
        what: The overrides that tell it from the others.
        error: Why it failed; an empty text if it did not.
        folder: Its folder.
    """

    name: str
    state: str
    phase: str
    step: str
    result: str
    rate: str
    seconds_left: float | None
    what: str
    error: str
    folder: Path


class Look(NamedTuple):
    """What one look at a folder gives.

    Attributes:
        lines: The jobs.
        in_use: Whether a process works on one of them.
        seconds_left: How long all that is left takes; None if nothing runs, or if it is not known.
    """

    lines: list[Line]
    in_use: bool
    seconds_left: float | None


class Watched:
    """A sweep, a search or a run that is looked at again and again. What has ended is read once.

    Args:
        found: Its folder.
    """

    def __init__(self, found: Found) -> None:
        self.found = found
        self._ended: dict[Path, Line] = {}
        self._frozen: dict[Path, FrozenJob | None] = {}
        self._same: dict[int, int] = {}
        self._time_left = TimeLeft([])

    def look(self) -> Look:
        """Look at every job that has not ended."""
        inner = jobs(self.found)
        self._read_frozen(inner)
        lines = [self._line(job) for job in inner]
        running = [line for line in lines if line.state == "running"]
        in_use = bool(running) or is_in_use(self.found.path)
        return Look(lines, in_use, self._seconds_left(lines) if running else None)

    def _read_frozen(self, inner: Sequence[Found]) -> None:
        """Read the frozen jobs that are new, and find which repeat others."""
        new = [job.path for job in inner if job.path not in self._frozen]
        for path in new:
            self._frozen[path] = _frozen(path)
        if new:
            known = sorted((job for job in self._frozen.values() if job is not None), key=lambda job: job.number)
            self._same = duplicates(known) if self.found.kind == "sweep" else {}
            self._time_left = TimeLeft([job for job in known if job.number not in self._same])
            self._ended = {}

    def _line(self, job: Found) -> Line:
        if job.path in self._ended:
            return self._ended[job.path]
        state, frozen = read_run(job), self._frozen[job.path]
        line = line_of(job, state, frozen)
        if frozen is not None and frozen.number in self._same:
            return line._replace(phase=f"as job {self._same[frozen.number]}")
        if line.state in _ENDED:
            self._ended[job.path] = line
            if frozen is not None:
                self._time_left.ended(frozen, state.record.seconds if state.record else None)
        return line

    def _seconds_left(self, lines: Sequence[Line]) -> float | None:
        if self.found.kind == "run":
            return lines[0].seconds_left
        found = {state: [job for line in lines if line.state == state and (job := self._frozen[line.folder])]
                 for state in ("running", "failed")}  # fmt: skip
        progress = {job.number: read_progress(self.found.path / job.name) for job in found["running"]}
        return self._time_left.seconds(progress, {job.number for job in found["failed"]})


def _frozen(path: Path) -> FrozenJob | None:
    try:
        return read_frozen(path) if os.path.lexists(path / FROZEN_FILE) else None
    except RunFolderError:
        return None


def line_of(job: Found, state: RunState, frozen: FrozenJob | None) -> Line:
    """Return the line of a job.

    Args:
        job: Its folder.
        state: How far it is.
        frozen: The job as it was composed; None for a run of its own.
    """
    is_running = state.state == "running"
    progress = read_progress(job.path) if is_running else None
    left = None if progress is None else progress.seconds_left(_test_episodes(state.config))
    rate = f"{progress.steps_per_second:.3g}/s" if progress and progress.steps_per_second > 0 else NOTHING
    return Line(
        name=job.path.name if frozen is None else str(frozen.number),
        state=state.state,
        phase=format_phase(progress) if is_running else NOTHING,
        step=_format_step(job.path, state, progress),
        result=_format_result(job.path, state),
        rate=rate,
        seconds_left=left,
        what=frozen.what if frozen else "",
        error=format_reason(state.error or "") if state.state in ("failed", "stopped", "damaged") else "",
        folder=job.path,
    )


def format_watched(found: Found, look: Look) -> str:
    """Format the table, with a line that sums it up, and the failures with their logs.

    Args:
        found: The sweep, the search or the run.
        look: Its jobs.
    """
    what = {"run": "run", "sweep": "job", "search": "trial"}[found.kind]
    head = [what, "state", "phase", "step", "result", "rate", "left", ""]
    cells = [
        [
            line.name,
            line.state,
            line.phase,
            line.step,
            line.result,
            line.rate,
            format_time(line.seconds_left),
            line.what,
        ]
        for line in look.lines
    ]
    failures = [f"  {line.name}: {line.error} ({_format_log(line.folder)})" for line in look.lines if line.error]
    parts = [format_sum(found, look), *format_columns([head, *cells], right=(3, 5))]
    parts += [wrap_lines("\n".join(["ended badly:", *failures]))] if failures else []
    return "\n".join(parts)


def format_sum(found: Found, look: Look) -> str:
    """Format how many jobs are in which state, and how long the rest takes.

    Args:
        found: The sweep, the search or the run.
        look: Its jobs.
    """
    repeated = sum(line.phase.startswith("as job") for line in look.lines)
    tally = Counter(line.state for line in look.lines if not line.phase.startswith("as job"))
    parts = [f"{tally[state]} {state}" for state in reversed(STATES) if tally[state]]
    parts += [f"{repeated} the same as others"] if repeated else []
    removed = [] if found.kind == "run" else removed_jobs(found.path)
    parts += [f"{len(removed):,} removed"] if removed else []
    parts += [format_left(look.seconds_left)] if look.in_use else []
    idle = "" if look.in_use or tally["completed"] == tally.total() else "; no process works on it"
    return f"{found.path}: {', '.join(parts) or 'no jobs yet'}{idle}"


def format_changes(before: Sequence[Line], now: Sequence[Line]) -> list[str]:
    """Format what has changed since the last look, a line for each job: its state, its phase or its validation.

    Args:
        before: The jobs at the last look.
        now: The jobs now.
    """
    known = {line.folder: _noticed(line) for line in before}
    changed = [line for line in now if known.get(line.folder) != _noticed(line)]
    return ["  ".join(text for text in _parts(line) if text and text != NOTHING) for line in changed]


def format_after(found: Found, lines: Sequence[Line]) -> str:
    """Format what one would do once nothing runs any more.

    Args:
        found: The sweep, the search or the run.
        lines: Its jobs.
    """
    states = {line.state for line in lines}
    if found.kind == "run":
        return format_next([step("settings, results and files", "show", found.path)])
    steps = [step("which is better, and how certain that is", "compare", found.path)] if "completed" in states else []
    return format_next([*steps, step("its command, and all its jobs", "show", found.path)])


def _parts(line: Line) -> list[str]:
    left = "" if line.seconds_left is None else f"{format_time(line.seconds_left)} left"
    return [line.name, line.state, line.phase, line.step, line.result, left, line.what, line.error]


def _noticed(line: Line) -> tuple[str, str, str]:
    return (line.state, line.phase.partition(" ")[0], line.result)


def _format_step(folder: Path, state: RunState, progress: Progress | None) -> str:
    section = state.config.get("train")
    steps = section.get("steps") if isinstance(section, dict) else None
    done = progress.step if progress else steps_done(folder, state.record)
    return f"{done:,}/{steps:,}" if type(steps) is int else f"{done:,}"


def _format_result(folder: Path, state: RunState) -> str:
    record = state.record
    if record is not None and state.state == "completed":
        score = record.test or record.val
        return NOTHING if score is None else f"{'test' if record.test else 'val'} {format_score(score)}"
    values = newest_values(folder / METRICS_FILE, "val/")
    found = [(name.removeprefix("val/"), value) for name, value in values.items() if name.startswith("val/")]
    means = [(name, value) for name, value in found if name != "ci95"]
    if not means:
        return NOTHING
    name, value = means[0]
    known = "accuracy" if is_hit_rate(name) else name
    return f"val {format_value(known, value, values.get('val/ci95'))}"


def _test_episodes(config: dict[str, Any]) -> int:
    section = config.get("eval")
    if not isinstance(section, dict) or section.get("test") is False:
        return 0
    return section["episodes"] if type(section.get("episodes")) is int else 0


def _format_log(folder: Path) -> str:
    log = folder / LOG_FILE
    return shlex.quote(str(log if log.exists() else folder / "run.log"))
