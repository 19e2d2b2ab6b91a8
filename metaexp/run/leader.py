"""A command in several processes: the first one is the command, the others follow it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from metaexp.core.errors import MachineError
from metaexp.machine.launch import Launch, launched
from metaexp.machine.ranks import ALONE, PeerError, Ranks, joined
from metaexp.run.follower import follow

_met: set[Launch] = set()
"""Launches whose ranks have met: they do so once."""


def run(launch: Launch, command: Callable[[], int]) -> int:
    """Run ``command`` on the first rank, and what it orders on the others. Returns the exit code of this process."""
    if launch.rank > 0:
        return follow(launch)
    code = 1
    try:
        code = command()
    finally:
        if launch not in _met:  # help, or a mistake in the configuration: the others can go
            with suppress(MachineError, PeerError), joined(launch) as group:
                group.order({"leave": code})
    return code


@contextmanager
def led() -> Iterator[Ranks]:
    """The ranks of this process's launch, which it is the first of; itself alone where there is no launch."""
    launch = launched()
    if launch is None:
        yield ALONE
        return
    _met.add(launch)
    with joined(launch) as group:
        try:
            yield group
        except BaseException:
            # When another rank has failed, torchrun stops this one, which still has to say why.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            raise
