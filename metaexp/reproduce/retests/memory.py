"""How much memory this process has had, and which process goes first where memory runs out. Linux only, no torch."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

_SCORE = Path("/proc/self/oom_score_adj")
_FIRST = 900
"""Without memory, the system ends processes with a high score first; 1000 is the highest."""


def peak_bytes() -> int | None:
    """Return the most memory that this process has had; None where the system does not say."""
    if sys.platform != "linux":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def end_first_without_memory() -> None:
    """Let the system end this process before others if memory runs out, because its work can be done by another."""
    with suppress(OSError):
        _SCORE.write_text(str(_FIRST))
