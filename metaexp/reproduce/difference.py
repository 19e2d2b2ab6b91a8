"""Compare the numbers of a run with those of its rerun, and find where they first differ. Without torch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaexp.core.counted import counted, listed
from metaexp.core.disk.files import open_regular
from metaexp.core.errors import RunFolderError
from metaexp.core.json_lines import METRICS_FILE, TIMINGS_FILE, read_all_lines
from metaexp.reproduce.causes import conditions, likely_causes
from metaexp.reproduce.tensor_bytes import left_out
from metaexp.results.episodes import EPISODES_FILE, read_episodes
from metaexp.results.record import RECORD_FILE, RunRecord, read_record

Value = int | float | str | None


@dataclass(frozen=True)
class Difference:
    """A number that differs.

    Attributes:
        where: The file, and the step or the episode in it.
        quantity: What the number measures.
        run: Its value in the run.
        again: Its value in the rerun.
        relative: The difference over the run's value; None where that is zero or not a number.
    """

    where: str
    quantity: str
    run: Value
    again: Value
    relative: float | None

    def format(self) -> str:
        """Return a sentence such as ``metrics.jsonl, step 30: train/loss is 0.25 in the run and 0.26 now``."""
        more = "" if self.relative is None else f" (relative difference {self.relative:.2g})"
        return f"{self.where}: {self.quantity} is {_format(self.run)} in the run and {_format(self.again)} now{more}"


@dataclass(frozen=True)
class RunComparison:
    """The result of comparing a run with its rerun.

    Attributes:
        identical: Whether all compared numbers are equal.
        until: Steps that were compared; None for the whole run with its test.
        compared: What both have.
        differences: The first difference of every file, metrics first; empty when identical.
        conditions: What else has changed since, such as versions and threads.
        causes: Sentences about why the numbers could differ; empty when identical.
    """

    identical: bool
    until: int | None
    compared: list[str]
    differences: list[Difference]
    conditions: list[str]
    causes: list[str]


def compare_folders(run: Path, again: Path, until: int | None = None) -> RunComparison:
    """Compare a run with its rerun.

    What only one of the two folders can have is not compared: a published copy has no weights and fewer lines of
    training metrics.

    Args:
        run: The run folder, or its published copy.
        again: The folder of the rerun.
        until: Compare only this many steps; None for all, and the test.

    Raises:
        RunFolderError: A file is damaged, or nothing can be compared.
    """
    compared: list[str] = []
    found: list[Difference] = []
    parts: list[Callable[[], Iterator[str | Difference]]] = [lambda: _metrics(run, again, until)]
    before, now = read_record(run), read_record(again)
    if until is None:
        parts += [lambda: _episodes(run, again), lambda: _record(before, now)]
    parts.append(lambda: _weights(run, again, until))
    for part in parts:
        for item in part():
            if isinstance(item, Difference):
                found.append(item)
                break
            compared.append(item)
    if not compared and not found:
        raise RunFolderError(f"{run} has no numbers that could be compared with {again}.")
    changed = conditions(before, now)
    causes = likely_causes(before, now, changed) if found else []
    return RunComparison(not found, until, compared, found, changed, causes)


def last_step_of(run: Path) -> int:
    """Return the last step in the metrics of ``run``; 0 where there is none."""
    return max((step for step, _ in read_all_lines(run / METRICS_FILE)), default=0)


def first_step(run: Path) -> int | None:
    """Return the first step in the metrics of ``run``; None where there is none."""
    return min((step for step, _ in read_all_lines(run / METRICS_FILE)), default=None)


def is_published(run: Path) -> bool:
    """Whether a folder is a published copy. Runs have timings, and copies have none."""
    return not (run / TIMINGS_FILE).exists()


Line = tuple[int, dict[str, float]]


def _metrics(run: Path, again: Path, until: int | None) -> Iterator[str | Difference]:
    """Compare line by line. Each line holds the training, validation or test metrics of one step."""
    ours, theirs = _lines(run, until), _lines(again, until)
    if not ours:
        return
    by_kind = {_kind(line): line for line in theirs}
    for step, values in ours:
        match = by_kind.pop(_kind((step, values)), None)
        where = f"{METRICS_FILE}, step {step:,}"
        if match is None:
            yield Difference(where, ", ".join(values), "there", "missing", None)
        else:
            yield from _unequal(where, values, match[1])
    extra = [line for line in by_kind.values() if not (is_published(run) and _is_training(line))]
    for step, values in extra[:1]:
        yield Difference(f"{METRICS_FILE}, step {step:,}", ", ".join(values), "missing", "there", None)
    yield f"{counted(len(ours), 'line')} of {METRICS_FILE}, steps {ours[0][0]:,} to {ours[-1][0]:,}"


def _episodes(run: Path, again: Path) -> Iterator[str | Difference]:
    if not (run / EPISODES_FILE).exists():
        return
    ours, theirs = read_episodes(run / EPISODES_FILE), read_episodes(again / EPISODES_FILE)
    if (shape := (len(ours), len(ours[0]))) != (other := (len(theirs), len(theirs[0]))):
        yield Difference(EPISODES_FILE, "the number of steps and episodes", str(shape), str(other), None)
    for episode, (then, now) in enumerate(zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True)):
        names = [f"after_{step}" for step in range(len(then))]
        yield from _unequal(
            f"{EPISODES_FILE}, episode {episode}",
            dict(zip(names, then, strict=True)),
            dict(zip(names, now, strict=True)),
        )
    yield f"{len(ours[0]):,} test episodes"


def _record(before: RunRecord, now: RunRecord) -> Iterator[str | Difference]:
    yield from _unequal(RECORD_FILE, _decided(before), _decided(now))
    yield "the selected step, the validation score" + ("" if before.test is None else " and the test score")


def _decided(record: RunRecord) -> dict[str, Value]:
    """The values of a record that depend on the configuration and the data alone."""
    values: dict[str, Value] = {
        "data_hash": record.data_hash,
        "episode_bank": record.episode_bank,
        "n_parameters": record.n_parameters,
        "steps": record.steps,
        "selected_step": record.selected_step,
    }
    for name, score in (("val", record.val), ("test", record.test)):
        if score is not None:
            values |= {f"{name}.mean": score.mean, f"{name}.ci95": score.ci95, f"{name}.n_episodes": score.n_episodes}
    return values | {f"after_steps[{i}].mean": score.mean for i, score in enumerate(record.after_steps)}


def _weights(run: Path, again: Path, until: int | None) -> Iterator[str | Difference]:
    """Compare the bytes of checkpoints that both have: the selected weights of whole runs, and equal steps."""
    names = [path.name for path in sorted((run / "checkpoints").glob("*.safetensors"))]
    for name in names:
        other = again / "checkpoints" / name
        if not other.exists() or (until is not None and name == "best.safetensors"):
            continue
        is_best = name == "best.safetensors"
        what = "the selected weights" if is_best else f"the checkpoint {Path(name).stem}"
        found = _unequal_file(run / "checkpoints" / name, other)
        if found is not None and is_best and (unsaved := left_out(run / "checkpoints" / name, other)):
            found, what = None, f"{what} (except {listed(unsaved, 3)}, which the rerun did not save)"
        if found is not None:
            yield found
        yield what


def _unequal_file(ours: Path, theirs: Path) -> Difference | None:
    """How two files differ; None if their bytes are the same."""
    where = f"checkpoints/{ours.name}"
    sizes = [path.stat().st_size for path in (ours, theirs)]
    if sizes[0] != sizes[1]:  # no need to read them, however large one is
        return Difference(where, "bytes", sizes[0], sizes[1], None)
    then, now = _sha256(ours), _sha256(theirs)
    return None if then == now else Difference(where, "SHA-256", then[:16], now[:16], None)


def _lines(folder: Path, until: int | None) -> list[Line]:
    return [line for line in read_all_lines(folder / METRICS_FILE) if until is None or line[0] <= until]


def _kind(line: Line) -> tuple[int, str]:
    """The step of a line, and whether it is of training, validation or test."""
    return line[0], min(key.partition("/")[0] for key in line[1])


def _is_training(line: Line) -> bool:
    return all(key.startswith("train/") for key in line[1])


def _unequal(where: str, run: dict[str, Any], again: dict[str, Any]) -> Iterator[Difference]:
    for quantity in {**run, **again}:
        then, now = run.get(quantity), again.get(quantity)
        if then != now and not (_is_nan(then) and _is_nan(now)):
            yield Difference(where, quantity, _plain(then), _plain(now), _relative(then, now))


def _relative(then: Any, now: Any) -> float | None:
    numbers = all(isinstance(v, (int, float)) and math.isfinite(v) for v in (then, now))
    return abs(now - then) / abs(then) if numbers and then else None


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _plain(value: Any) -> Value:
    """A value that JSON can hold."""
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _format(value: Value) -> str:
    return "not there" if value is None else str(value)


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
