"""How much memory this process has had, and which process goes first where memory runs out. No torch."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

_SCORE = Path("/proc/self/oom_score_adj")
_FIRST = 900
"""Without memory, the system ends processes with a high score first; 1000 is the highest."""


def peak_bytes() -> int | None:
    """Return the most memory that this process has had; None on Windows, which does not say."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def end_first_without_memory() -> None:
    """On Linux, let the system end this process before others if memory runs out: another can do its work."""
    with suppress(OSError):
        _SCORE.write_text(str(_FIRST))
