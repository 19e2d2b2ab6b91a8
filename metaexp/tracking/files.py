"""The files of a run that hold its scalars, written as it goes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from metaexp.core.disk.files import append_regular, name_in_errors, open_regular
from metaexp.core.errors import RunFolderError
from metaexp.core.json_lines import encode

_PIECE = 1 << 16
_LONGEST_TORN = 1 << 24
"""Bytes of a line without an end that are looked through at most."""


class JsonLines:
    """An append-only file of JSON lines that can be cut back to an earlier position.

    The same calls write the same bytes. Keys are sorted, ``step`` comes first, and nothing is taken from a clock.
    Floats are written with ``repr``, the shortest text that reads back as the same float64.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def open(self, position: int | None = None) -> None:
        """Open the file for writing.

        Args:
            position: the byte to write after; what follows it is dropped. None keeps everything.

        Raises:
            RunFolderError: The file is shorter than ``position``, so lines that a checkpoint counts on are gone.
        """
        size = self.path.stat().st_size if self.path.exists() else 0
        if position is not None and size < position:
            raise RunFolderError(
                f"{self.path} has {size} bytes, but the checkpoint was saved when it had {position}: "
                "lines are missing, so the run cannot be continued in this folder. Start a new run."
            )
        self._file = append_regular(self.path)
        if position is not None and size > position:
            self._file.truncate(position)
            self._file.seek(position)
        elif position is None:
            self._drop_torn_line(size)

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Write one line and hand it to the operating system, so that other processes can read it at once.

        Args:
            step: The training step.
            values: Numbers by name ``<split>/<quantity>``.
        """
        file = self._opened()
        with name_in_errors(self.path):
            file.write(encode(step, values))
            file.flush()

    def position(self) -> int:
        """Bytes written so far: what :meth:`open` takes to come back to this point."""
        return self._opened().tell()

    def sync(self) -> None:
        """Wait until everything written is on the disk."""
        file = self._opened()
        with name_in_errors(self.path):
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
        with open_regular(self.path) as file:
            end = size
            while end > 0:
                begin = max(0, end - _PIECE)
                file.seek(begin)
                found = file.read(end - begin).rfind(b"\n")
                if found >= 0:
                    end = begin + found + 1
                    break
                end = begin
                if size - end > _LONGEST_TORN:
                    what = f"ends with {size - end} bytes that are not a line"
                    raise RunFolderError(f"{self.path} {what}. Remove the file.")
        if end < size:
            self._opened().truncate(end)
        self._opened().seek(0, os.SEEK_END)
