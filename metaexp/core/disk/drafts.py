"""Says whether a draft, which a process writes before it gets its name, was left by a process that was killed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from metaexp.core.disk.locks import is_locked


def is_left_behind(draft: Path, seconds: float, locks: Iterable[Path]) -> bool:
    """Return whether a draft's time is far from now and no process has a lock on it.

    Clocks jump, and differ between machines that share a folder. So a draft can seem old, or be of tomorrow, while it
    is being written. Its time alone covers the moment before it is locked.

    Args:
        draft: The file or folder.
        seconds: How far its time must be from now, before or after.
        locks: The files of which its process locks one.
    """
    try:
        return abs(time.time() - draft.stat().st_mtime) > seconds and not any(map(is_locked, locks))
    except OSError:  # another process has just finished it, or removed it
        return False
