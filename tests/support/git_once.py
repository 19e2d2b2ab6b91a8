"""Importing this asks git about this checkout once in a process and its forks, not in each of a thousand runs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from metaexp.results import provenance

ROOT = Path(__file__).resolve().parents[2]
_ask = provenance._git
_ask_once = cache(_ask)


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; no test changes this checkout."""
    return (_ask_once if folder.is_relative_to(ROOT) else _ask)(folder, *arguments)


provenance._git = _git
