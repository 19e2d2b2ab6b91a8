"""Numbers and settings of records as text, the same in every table and page. Without torch."""

from __future__ import annotations

import re
from collections.abc import Sequence

from metaexp.core.counted import counted
from metaexp.core.metric import decimals, format_digits, is_hit_rate
from metaexp.core.shapes import TaskShape
from metaexp.results.beginning import NO_NETWORK
from metaexp.results.record import Machine, Reference, RunRecord, Score, Task
from metaexp.results.verdict import is_another_task

NOTHING = "-"
"""Stands where there is no value."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FRACTION = re.compile(r"-?\d*(?:\.\d+(?:e[-+]?\d+)?|e[-+]?\d+)")
_LEAST, _MOST = 1e-6, 1e6
"""Half intervals outside these are written with an exponent."""


def format_value(metric: str, mean: float, ci95: float | None) -> str:
    """Return ``98.27 ± 0.31 %`` for an accuracy (also a top-K one) and ``0.512 ± 0.041`` for anything else.

    The mean of anything else has as many decimals as show two digits of its interval.

    Args:
        metric: Its name.
        mean: Its value.
        ci95: Half the width of the interval; None to leave it out.
    """
    if is_hit_rate(metric):
        spread = "" if ci95 is None else f" ± {ci95 * 100:.2f}"
        return f"{mean * 100:.2f}{spread} %"
    if ci95 is None or not _LEAST < ci95 < _MOST:
        return format_digits(mean) + ("" if ci95 is None else f" ± {ci95:.2g}")
    places = decimals(ci95)
    return f"{mean:.{places}f} ± {ci95:.{places}f}"


def format_score(score: Score | None) -> str:
    """Return a measured score as text; without an interval for one episode, which has none."""
    if score is None:
        return NOTHING
    if score.n_episodes < 2:
        return f"{format_value(score.metric, score.mean, None)} (one episode: no interval)"
    return format_value(score.metric, score.mean, score.ci95)


def format_reference(reference: Reference | None) -> str:
    """Return a published number with the digits that the paper gives."""
    if reference is None:
        return NOTHING
    scale, unit = (100.0, " %") if is_hit_rate(reference.metric) else (1.0, "")
    numbers = [number for number in (reference.value, reference.ci95) if number is not None]
    texts = [f"{number * scale:.6g}" for number in numbers]
    places = max(len(text.partition(".")[2]) for text in texts)  # 0.90 ± 0.16, of which YAML keeps 0.9
    if not any("e" in text for text in texts):
        texts = [f"{number * scale:.{places}f}" for number in numbers]
    return f"{' ± '.join(texts)}{unit}"


def format_marked(reference: Reference | None) -> str:
    """Return a published number as tables show it: marked if nobody read it in its source.

    Args:
        reference: The number. Its paper or table says ``unchecked``, or ``as quoted by`` and whom.
    """
    if reference is None:
        return NOTHING
    source = f"{reference.paper}, {reference.table}"
    quoted = re.search(r"as quoted by ([^,(]+)", source)
    marks = [f"quoted by {quoted[1].strip()}"] if quoted else []
    marks += ["unchecked"] if "unchecked" in source else []
    return f"{format_reference(reference)} ({', '.join(marks)})" if marks else format_reference(reference)


def name_validation(record: RunRecord) -> str:
    """Return the word for a run's validation, which says so if it, or classes of it, were trained on."""
    trained = record.val_classes_trained
    if trained:
        return f"validation ({counted(trained, 'class')} trained on)"
    return "validation (trained on)" if record.val_in_train else "validation"


def format_published(record: RunRecord) -> str:
    """Return the published number that a run can be held against; a dash where it was tested on another task."""
    return NOTHING if is_another_task(record.deviations) else format_marked(record.reference)


def format_task(task: Task | TaskShape) -> str:
    """Return ``5-way 1-shot``, or ``10-shot`` for regression."""
    return f"{task.n_way}-way {task.k_shot}-shot" if task.n_way else f"{task.k_shot}-shot"


def shown_steps(last: int) -> list[int]:
    """Return the adaptation steps that a table or a line shows: all up to 10, or 0, 1, 2, 5, 10, 20, ... and the last.

    Args:
        last: The largest number.
    """
    if last <= 10:
        return list(range(last + 1))
    round_numbers = (digit * 10**power for power in range(len(str(last))) for digit in (1, 2, 5))
    return [0, *(step for step in round_numbers if step < last), last]


def format_order(first_order: bool | None) -> str:
    """Return the order of the meta-gradient; ``-`` for algorithms without inner gradients."""
    return NOTHING if first_order is None else ("first" if first_order else "second")


def format_network(model: str) -> str:
    """Return the network of a record, or ``no network``."""
    return "no network" if model == NO_NETWORK else model


def format_batch_norm(mode: str | None) -> str:
    """Return the batch-norm mode at test."""
    return mode or NOTHING


def format_steps(record: RunRecord) -> str:
    """Return ``6,000 of 60,000`` for a cut schedule, else ``60,000``."""
    if record.full_steps is not None and record.full_steps != record.steps:
        return f"{record.steps:,} of {record.full_steps:,}"
    return f"{record.steps:,}"


def format_selected(record: RunRecord) -> str:
    """Return which weights were tested: ``51,000 (best on validation)`` or ``60,000 (last)``; empty before a test."""
    if record.selected_step is None:
        return ""
    return f"{record.selected_step:,} ({'last' if record.tests_last else 'best on validation'})"


def format_time(seconds: float | None) -> str:
    """Return a time such as ``42 s``, ``21 min`` or ``3 h 12 min``."""
    if seconds is None:
        return NOTHING
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def format_times(seconds: Sequence[float | None]) -> list[str]:
    """Return times that are compared with each other in one unit: that of the longest, as ``72 s`` and ``240 s``.

    Args:
        seconds: The times; None for one that is not known.
    """
    longest = max((each for each in seconds if each is not None), default=0.0)
    if longest < 600.0:
        return [NOTHING if each is None else f"{each:.0f} s" for each in seconds]
    unit, size = ("min", 60.0) if longest < 6000.0 else ("h", 3600.0)
    return [NOTHING if each is None else f"{_two_digits(each / size)} {unit}" for each in seconds]


def format_throughput(value: float | None) -> str:
    """Return episodes per second: with commas and without decimals, or with three digits below 100."""
    return NOTHING if value is None else (f"{value:,.0f}" if value >= 100 else f"{value:.3g}")


def _two_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 10.0 else f"{value:.2g}"


def format_device(device: Machine | None) -> str:
    """Return ``AMD EPYC, 2 threads`` or the accelerator's name, with precision and ranks where they are unusual."""
    if device is None:
        return NOTHING
    threads = f", {counted(device.threads, 'thread')}" if device.accelerator == "cpu" else ""
    precision = "" if device.precision == "float32" else f", {device.precision}"
    ranks = "" if device.ranks == 1 else f", {counted(device.ranks, 'rank')}"
    return f"{device.name}{threads}{precision}{ranks}"


def format_command(record: RunRecord) -> str:
    """Return the command that trains this run again."""
    experiment = [f"experiment={record.experiment}"] if record.experiment else []
    given = [item for item in record.overrides if not item.startswith("experiment=")]
    return " ".join(["metaexp train", *map(_quoted, [*trust_words(record), *experiment, *given])])


def trust_words(record: RunRecord) -> list[str]:
    """Return the ``--trust`` options that allow the run's own code by its name; none for a run without such code."""
    return [] if record.own_code is None else [word for name in record.own_code.git for word in ("--trust", name)]


def format_test_command(record: RunRecord, folder: str, overrides: Sequence[str]) -> str:
    """Return the command that tests published weights again.

    Args:
        record: The record of the published run.
        folder: Its folder.
        overrides: What the test changes.
    """
    return " ".join(["metaexp evaluate", *map(_quoted, [*trust_words(record), folder, *overrides])])


def _quoted(override: str) -> str:
    """An override for a shell, in single quotes if it has special characters."""
    plain = override and all(c.isalnum() or c in "._-=+/,:@%~" for c in override)
    return override if plain else "'" + override.replace("'", "'\\''") + "'"


def format_point(varied: str) -> str:
    """Format the overrides that tell a job of a sweep from the others, without what the name of its run has.

    Args:
        varied: The overrides, such as ``algorithm=maml algorithm.inner_lr=0.123456789 seed=3``.

    Returns:
        They in short, such as ``inner_lr=0.1235``.
    """
    words = [word.partition("=") for word in varied.split()]
    kept = [
        (key, value) for key, _, value in words if key not in ("algorithm", "dataset", "experiment", "task", "seed")
    ]
    return " ".join(f"{key.rpartition('.')[2]}={shorten(value)}" for key, value in kept)


def shorten(value: str) -> str:
    """Return a number with a point or an exponent, such as a rate that a search drew, in four digits.

    Of a SHA-256, such as that of a file of weights, the beginning is returned. Other values stay as they are.
    """
    if _DIGEST.fullmatch(value):
        return value[:12]
    return f"{float(value):.4g}" if len(value) >= 7 and _FRACTION.fullmatch(value) else value
