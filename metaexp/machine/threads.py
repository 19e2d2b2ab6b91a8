"""How many threads each process on this machine takes."""

from __future__ import annotations

import os


def threads_each(n_at_once: int) -> int | None:
    """Threads for each of several jobs at once on this machine, so that they share its cores.

    None leaves it as it is: for one job, and where OMP_NUM_THREADS says it already.
    """
    if n_at_once <= 1 or os.environ.get("OMP_NUM_THREADS"):
        return None
    return max(1, cores() // n_at_once)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
