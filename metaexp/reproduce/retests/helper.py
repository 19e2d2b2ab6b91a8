"""``python -m metaexp.reproduce.retests.helper`` tests weights for another process, which writes to its input.

Each message is a line of JSON. The other process gives a test to begin, or one to help with. This one asks for chunks
of its episodes and sends their rows. It ends when its standard input closes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from metaexp.config.classes.targets import trust
from metaexp.machine.memory import end_first_without_memory
from metaexp.reproduce.retests.queue import LeftError
from metaexp.run.evaluation.aids import Aids, LastData
from metaexp.run.evaluation.chunks import Measure, Report, Rows
from metaexp.run.evaluation.evaluate import retest
from metaexp.run.progress import Silent


class _Parent:
    """The other process."""

    def __init__(self, answers: IO[str]) -> None:
        self._answers = answers
        self._pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # what libraries print must not be read as a message

    def send(self, **message: Any) -> None:
        self._pipe.write(json.dumps(message) + "\n")
        self._pipe.flush()

    def read(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            sys.exit(0)
        found: dict[str, Any] = json.loads(line)
        return found


class _FromParent:
    """Chunks that the other process hands out."""

    def __init__(self, parent: _Parent, begins: bool) -> None:
        self._parent = parent
        self._begins = begins

    def rows(self, measure: Measure, chunk: int, n_episodes: int, report: Report) -> Rows:
        while True:
            self._parent.send(next=chunk)
            start = self._parent.read()["start"]
            if start is None:
                break
            self._parent.send(rows=measure(start))
        if not self._begins:
            raise LeftError
        self._parent.send(all=True)
        found: Rows = self._parent.read()["rows"]
        return found


class _Lines(Silent):
    """Sends lines to the other process."""

    def __init__(self, parent: _Parent) -> None:
        self._parent = parent

    def print_line(self, text: str) -> None:
        self._parent.send(line=text)


def main(packages: Sequence[str]) -> None:
    """Test what the other process asks for, until it closes standard input.

    Args:
        packages: Packages whose classes the runs may use.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process ends this one
    end_first_without_memory()
    parent, data = _Parent(sys.stdin), LastData()
    for package in packages:
        trust(package)
    while True:
        asked = parent.read()
        aids = Aids(data.load, _FromParent(parent, asked["begins"]), asked["recalls"], remembers=True)
        try:
            found = retest(Path(asked["folder"]), asked["overrides"], aids, _Lines(parent))
        except LeftError:
            parent.send(left=True)
        except Exception as error:
            parent.send(failed=f"{type(error).__name__}: {error}")
        else:
            parent.send(end=asdict(found.evaluation), more=[found.sources, found.seconds, found.is_recalled])


if __name__ == "__main__":
    main(sys.argv[1:])
