"""Reads from the environment whether torchrun started this process as one of several. Without torch."""

from __future__ import annotations

import os
from typing import NamedTuple

from metaexp.core.errors import ConfigError

_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Launch(NamedTuple):
    """The place of this process: ``rank`` of ``size`` in all, ``local_rank`` of ``local_size`` on this machine."""

    rank: int
    size: int
    local_rank: int
    local_size: int


def launched() -> Launch | None:
    """Return the place of this process among those that torchrun started; None for a single process.

    Raises:
        ConfigError: The environment variables name a rank that cannot be.
    """
    if not all(name in os.environ for name in _NEEDED):
        return None
    rank, size = _number("RANK"), _number("WORLD_SIZE")
    local_rank = _number("LOCAL_RANK") if "LOCAL_RANK" in os.environ else rank
    local_size = _number("LOCAL_WORLD_SIZE") if "LOCAL_WORLD_SIZE" in os.environ else size
    if not (rank < size and local_rank < local_size <= size):
        raise ConfigError(
            f"the environment has RANK={rank} of WORLD_SIZE={size} and LOCAL_RANK={local_rank} of "
            f"LOCAL_WORLD_SIZE={local_size}; a rank must be below its number of ranks. torchrun sets all four; unset "
            "them to run in one process."
        )
    return Launch(rank, size, local_rank, local_size) if size > 1 else None


def refuse(what: str, instead: str) -> None:
    """Raise ConfigError if there are several processes, for a task that only a single process can do.

    Args:
        what: The task.
        instead: What the user can do.
    """
    launch = launched()
    if launch is not None:
        raise ConfigError(
            f"{what} runs in one process, and {launch.size} were started (WORLD_SIZE={launch.size}). {instead}"
        )


def _number(name: str) -> int:
    text = os.environ[name]
    if not text.isdecimal():
        raise ConfigError(
            f"the environment has {name}={text!r}, which must be a whole number from 0. torchrun sets it; unset it to "
            "run in one process."
        )
    return int(text)
