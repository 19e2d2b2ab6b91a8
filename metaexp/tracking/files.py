"""The files of a run that hold its scalars: one JSON object per line."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from metaexp.core.errors import RunFolderError

_KEY = re.compile(r"[A-Za-z0-9_]+(/[A-Za-z0-9_.\-]+)+")


class JsonLines:
    """An append-only file of JSON lines that can be cut back to an earlier position.

    The same calls write the same bytes: keys are sorted, ``step`` comes first, floats are written with
    ``repr`` (the shortest text that reads back as the same float64), and nothing is taken from a clock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def open(self, position: int | None = None) -> None:
        """Open for writing, after byte ``position`` (what follows is dropped); None keeps everything.

        Raises RunFolderError when the file is shorter than ``position``: lines that a checkpoint counts on are gone.
        """
        size = self.path.stat().st_size if self.path.exists() else 0
        if position is not None and size < position:
            raise RunFolderError(
                f"{self.path} has {size} bytes, but the checkpoint was saved when it had {position}: "
                "lines are missing, so the run cannot be continued in this folder. Start a new run."
            )
        self._file = self.path.open("ab")
        if position is not None and size > position:
            self._file.truncate(position)
            self._file.seek(position)
        elif position is None:
            self._drop_torn_line(size)

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Write one line and hand it to the operating system, so that other processes can read it at once."""
        file = self._opened()
        file.write(encode(step, values))
        file.flush()

    def position(self) -> int:
        """Bytes written so far: what :meth:`open` takes to come back to this point."""
        return self._opened().tell()

    def sync(self) -> None:
        """Wait until everything written is on the disk."""
        file = self._opened()
        file.flush()
        os.fsync(file.fileno())

    def close(self) -> None:
        """Sync and close. A second call does nothing."""
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            raise RuntimeError(f"{self.path.name} is written to before open() or after close()")
        return self._file

    def _drop_torn_line(self, size: int) -> None:
        """Cut a last line that has no end: the process that wrote it was killed."""
        if size == 0:
            return
        content = self.path.read_bytes()
        self._opened().truncate(content.rfind(b"\n") + 1)
        self._opened().seek(0, os.SEEK_END)


def encode(step: int, values: Mapping[str, float]) -> bytes:
    """One line: ``{"step": 20, "train/loss": 0.5}``. Not-finite numbers become "nan", "inf" and "-inf"."""
    line: dict[str, int | float | str] = {"step": step}
    for key in sorted(values):
        if not _KEY.fullmatch(key):
            raise ValueError(f"metric {key!r} is not named <split>/<quantity>, like 'val/accuracy'")
        value = values[key]
        number = value if isinstance(value, int) else float(value)
        line[key] = number if math.isfinite(number) else repr(number)
    return json.dumps(line, allow_nan=False).encode() + b"\n"


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield (step, values) of every complete line of a file written by :class:`JsonLines`.

    A last line without an end (a run that was killed, or is still writing) is passed over; any other damage
    raises RunFolderError with the line's number. A missing file yields nothing.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.endswith(b"\n"):
                return
            yield _decode(raw, path, number)


def _decode(raw: bytes, path: Path, number: int) -> tuple[int, dict[str, float]]:
    try:
        line: dict[str, Any] = json.loads(raw)
        step = line.pop("step")
        return int(step), {key: float(value) if isinstance(value, str) else value for key, value in line.items()}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise RunFolderError(f"{path}, line {number} is not a line of metrics: {raw[:80]!r}") from error
