"""Importing this makes a thousand tiny runs cheaper, in this process and its forks; what they do stays the same.

Git is asked about this checkout once, which no test changes. Nobody waits for the disk: what a process has written is
there for others even after SIGKILL, and tests lose no power. torch's compiler, which no run needs, is not imported with
the first gradient.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from metaexp.machine.compiler import put_off_compiler
from metaexp.results import provenance

ROOT = Path(__file__).resolve().parents[2]
_ask = provenance._git
_ask_once = cache(_ask)


def _git(folder: Path, *arguments: str) -> str | None:
    return (_ask_once if folder.is_relative_to(ROOT) else _ask)(folder, *arguments)


def _fsync(descriptor: int) -> None:
    os.fstat(descriptor)  # as fsync, an error for what is not open


provenance._git = _git
os.fsync = _fsync
put_off_compiler()
