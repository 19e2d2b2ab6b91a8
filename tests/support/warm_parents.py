"""A warm parent without torch, whose jobs are Python statements. ``python warm_parents.py LOAD SOCKET``."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from metaexp.machine.forked_process import WarmParent
from metaexp.machine.warm_parent import leave, serve_forks


@contextmanager
def start_warm_parent(env: dict[str, str], load: str = "", prefix: Sequence[str] = ()) -> Iterator[WarmParent]:
    """A warm parent that runs ``load`` once. The processes run the arguments of :meth:`WarmParent.fork`."""
    parent = WarmParent([*prefix, sys.executable, "-P", str(Path(__file__)), load], env)
    try:
        yield parent
    finally:
        parent.close()


def main(load: str, handle: int) -> None:
    known: dict[str, object] = {"prepared": []}

    def prepare(arguments: Sequence[str]) -> None:
        for line in arguments[1:]:
            exec(line, known)

    arguments = serve_forks(socket.socket(fileno=handle), lambda: exec(load, known), prepare)
    exec(arguments[0], known)
    leave(int(str(known.get("code", 0))))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
