"""How many threads each process on this machine takes."""

from __future__ import annotations

import os

from metaexp.core.counted import counted
from metaexp.core.errors import MachineError

_MOST_THREADS, _MOST_THREADS_PER_CORE = 256, 4
"""More threads than this bring no speed, and some tens of thousands would end the process."""
_SPINS = "GOMP_SPINCOUNT"


def threads_each(n_at_once: int) -> int | None:
    """Return how many threads each of several jobs takes, so that together they use every core once.

    benchmarks/sweeps/threads.py measures what that gives, and docs/sweeps.md shows it: a core that no other job uses
    makes most jobs faster, and none slower but for noise. With more threads than cores, each step takes ten times as
    long.

    Args:
        n_at_once: How many jobs run at the same time on this machine.

    Returns:
        The number of threads; None to leave torch's default, for a single job or where OMP_NUM_THREADS is set.
    """
    if n_at_once <= 1 or os.environ.get("OMP_NUM_THREADS"):
        return None
    return max(1, cores() // n_at_once)


def let_threads_sleep() -> None:
    """Let torch's waiting threads sleep soon instead of spinning. Call this before torch is imported.

    Beside other processes a spinning thread keeps the core from the one that it waits for. Measured with two threads on
    two cores, MAML on glyphs: beside five processes 40 steps took 56 s, and over 124 s with GNU's own limit of 300,000
    turns; alone 69 tasks a second and 72, in a noise of 10 %. Threads that never spin (OMP_WAIT_POLICY=passive) did
    54. What the user has set stays.
    """
    if not {"OMP_WAIT_POLICY", _SPINS} & os.environ.keys():
        os.environ[_SPINS] = "10000"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_threads(threads: int | None) -> None:
    """Refuse a number of threads so large that the system would end the process without a message."""
    most = max(_MOST_THREADS, _MOST_THREADS_PER_CORE * cores())
    if threads is not None and threads > most:
        raise MachineError(
            f"device.threads={threads} is more than this machine can start: it has {counted(cores(), 'core')}, and "
            f"at most {counted(most, 'thread')} are allowed. Set device.threads={cores()}, or leave it out."
        )
