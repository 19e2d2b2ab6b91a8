"""The scalars of a run: what they are called, and how they are written, one JSON object per line.

``metrics.jsonl`` is the record of truth. It holds no clock, so two equal runs have equal bytes; rates and times are
in ``timings.jsonl``.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from metaexp.core.disk.files import open_regular
from metaexp.core.errors import RunFolderError
from metaexp.core.shapes import Split

METRICS_FILE = "metrics.jsonl"
TIMINGS_FILE = "timings.jsonl"

TRAIN_LOSS, GRADIENT_NORM, LEARNING_RATE = "train/loss", "train/gradient_norm", "train/lr"
SECONDS, TRAINING_SECONDS = "time/seconds", "time/training_seconds"

MOST_METRICS = 1 << 26
"""The largest file that is read as a whole: 64 MiB, some 600,000 lines."""
_LONGEST_LINE = 1 << 20
"""Bytes of a line that are read at most."""
_LARGEST = 1 << 63
"""Whole numbers in a line are smaller."""
_KEY = re.compile(r"[A-Za-z0-9_]+(/[A-Za-z0-9_.\-]+)+")


def scalars_of_split(split: Split, metric: str, mean: float, ci95: float) -> dict[str, float]:
    """Return the two scalars of a metric on a split: ``val/accuracy`` and ``val/ci95``.

    Args:
        split: The split.
        metric: The name of the metric.
        mean: Its mean over episodes.
        ci95: Half the width of its 95 % interval.
    """
    return {f"{split}/{metric}": mean, f"{split}/ci95": ci95}


def scalars_of_test(
    metric: str, mean: float, ci95: float, after_steps: Sequence[float], further: Mapping[str, float]
) -> dict[str, float]:
    """Return the scalars of a test, which are the last line of a run that was tested.

    Args:
        metric: The name of the metric.
        mean: Its mean over episodes.
        ci95: Half the width of its 95 % interval.
        after_steps: The means after 0, 1, ... steps of adaptation.
        further: The means of the metrics of ``eval.metrics``, by name.
    """
    values = scalars_of_split("test", metric, mean, ci95)
    values |= {f"test/{metric}_after_{steps}": value for steps, value in enumerate(after_steps)}
    return values | {f"test/{name}": value for name, value in further.items()}


def encode(step: int, values: Mapping[str, float]) -> bytes:
    """One line: ``{"step": 20, "train/loss": 0.5}``. Not-finite numbers become "nan", "inf" and "-inf".

    Args:
        step: The training step.
        values: Number of each metric, by its name ``<split>/<quantity>``.

    Raises:
        ValueError: A name is not ``<split>/<quantity>``.
    """
    line: dict[str, int | float | str] = {"step": step}
    for key in sorted(values):
        if not _is_key(key):
            raise ValueError(f"metric {key!r} is not named <split>/<quantity>, like 'val/accuracy'")
        value = values[key]
        number = value if isinstance(value, int) else float(value)
        line[key] = number if math.isfinite(number) else repr(number)
    return json.dumps(line, allow_nan=False).encode() + b"\n"


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield (step, values) of every complete line of a file of lines written by :func:`encode`.

    An unfinished last line (the run was killed, or is still writing) is skipped; any other damage raises RunFolderError
    with the line's number. A missing file yields nothing.
    """
    if not os.path.lexists(path):
        return
    with open_regular(path) as file:
        number = 0
        while raw := file.readline(_LONGEST_LINE):
            number += 1
            if not raw.endswith(b"\n"):
                if len(raw) == _LONGEST_LINE:
                    raise RunFolderError(f"{path}, line {number} is longer than a line of metrics: {raw[:80]!r}")
                return
            yield _decode(raw, path, number)


def read_all_lines(path: Path) -> list[tuple[int, dict[str, float]]]:
    """Read a whole file of lines, as :func:`read_lines` does.

    Raises:
        RunFolderError: The file is damaged, or has more than 64 MiB, which would take long to read and much memory.
    """
    size = path.lstat().st_size if os.path.lexists(path) else 0
    if size > MOST_METRICS:
        raise RunFolderError(
            f"{path} has {size:,} bytes; at most {MOST_METRICS:,} are read as a whole. A larger train.log_every gives "
            "fewer lines."
        )
    return list(read_lines(path))


def _decode(raw: bytes, path: Path, number: int) -> tuple[int, dict[str, float]]:
    try:
        line: dict[str, Any] = json.loads(raw)
        step = _step(line.pop("step"))
        values = {key: float(value) if isinstance(value, str) else value for key, value in line.items()}
        is_whole = all(map(_is_key, values)) and all(map(_is_number, values.values()))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise RunFolderError(f"{path}, line {number} is not a line of metrics: {raw[:80]!r}") from error
    if not is_whole:
        raise RunFolderError(f"{path}, line {number} is not a line of metrics: {raw[:80]!r}")
    return step, values


@lru_cache(maxsize=1024)
def _is_key(name: str) -> bool:
    return _KEY.fullmatch(name) is not None


def _step(value: object) -> int:
    """The step of a line. Raises ValueError where no run writes it, such as 1e999 or a number of 400 digits."""
    if type(value) is not int or not 0 <= value < _LARGEST:
        raise ValueError("not a step")
    return value


def _is_number(value: object) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < _LARGEST)


_LAST_LINE_BYTES = 4096
_TAIL_BYTES = 1 << 16


def newest_values(path: Path, prefix: str) -> dict[str, float]:
    """Return the newest line that has a metric of a split, also while the run goes on; empty if none has.

    Only the end of the file is read, and damaged lines are skipped.

    Args:
        path: The file.
        prefix: What the metric's name begins with, such as ``val/``.
    """
    try:
        lines = _whole_lines_at_end(path, _TAIL_BYTES)
    except (OSError, RunFolderError):
        return {}
    for raw in reversed(lines):
        try:
            _, values = _decode(raw, path, 0)
        except RunFolderError:
            continue
        if any(name.startswith(prefix) for name in values):
            return values
    return {}


def last_step(path: Path) -> int:
    """The training step of the last complete line; 0 where there is none."""
    try:
        return _step(json.loads(_whole_lines_at_end(path, _LAST_LINE_BYTES)[-1])["step"])
    except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError, RunFolderError):
        return 0


def _whole_lines_at_end(path: Path, n_bytes: int) -> list[bytes]:
    """The lines in the last ``n_bytes`` of a file, without an unfinished last one; the first may lack its beginning."""
    with open_regular(path) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - n_bytes))
        return file.read(n_bytes).split(b"\n")[:-1]
