"""Whether prepared examples are kept in memory, or in a file that is mapped into it. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final, Literal

Placement = Literal["auto", "memory", "disk"]
"""``memory`` keeps all examples in memory. With ``disk``, each episode reads its own from a file. ``auto`` is ``disk``
for data that would fill more than :data:`SHARE` of the memory that is available."""

SHARE: Final = 0.25
_MEMORY: Final = Path("/proc/meminfo")
_GROUP: Final = Path("/sys/fs/cgroup")
_chosen: ContextVar[Placement] = ContextVar("placement", default="auto")


@contextmanager
def use_placement(placement: Placement) -> Iterator[None]:
    """Within this block, load datasets with this placement. It changes no number.

    Args:
        placement: Where the examples are kept.
    """
    before = _chosen.set(placement)
    try:
        yield
    finally:
        _chosen.reset(before)


def stays_on_disk(n_bytes: int) -> bool:
    """Return whether examples that would take this much memory stay on disk, by the placement of the block.

    Args:
        n_bytes: The memory that they would take.
    """
    chosen = _chosen.get()
    if chosen != "auto":
        return chosen == "disk"
    available = available_memory()
    return available is not None and n_bytes > SHARE * available


def stays_off_device(n_bytes: int, free: int) -> bool:
    """Return whether examples stay on the host, where a GPU has this much free memory.

    Args:
        n_bytes: The memory that the examples take.
        free: The free memory of the GPU, in bytes.
    """
    chosen = _chosen.get()
    return n_bytes > 2 * SHARE * free if chosen == "auto" else chosen == "disk"


def available_memory() -> int | None:
    """Return how many bytes can be taken without swapping, within the limit of a container; None if unknown."""
    free = _of_machine()
    limit = _of_group()
    if free is None or limit is None:
        return limit if free is None else free
    return min(free, limit)


def _of_machine() -> int | None:
    try:
        for line in _MEMORY.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return None


def _of_group() -> int | None:
    """What the control group of a container leaves; files that the system keeps in memory do not count."""
    try:
        most = int((_GROUP / "memory.max").read_text())
        used = int((_GROUP / "memory.current").read_text())
        fields = dict(line.split() for line in (_GROUP / "memory.stat").read_text().splitlines())
        return max(0, most - used + int(fields.get("file", 0)))
    except (OSError, ValueError):  # no such group, or "max"
        return None
