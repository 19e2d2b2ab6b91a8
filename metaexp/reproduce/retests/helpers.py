"""Other processes that help to test weights. They begin once the work takes long enough."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from metaexp.config.classes.targets import trust_arguments
from metaexp.data.mapped.placement import available_memory
from metaexp.machine.memory import peak_bytes
from metaexp.machine.python_path import with_metaexp
from metaexp.reproduce.retests.queue import QueuedTest, TestQueue
from metaexp.results.evaluations import Evaluation
from metaexp.results.reading import build

PATIENCE: Final = [5.0]
"""After so many seconds the helpers begin: their imports take about as long."""
_SECONDS_OF_AN_END = 10.0


class Helpers:
    """The other processes, and a thread here for each of them.

    Args:
        queue: What is to be done.
        most: How many other processes may begin.
        recalls: Whether known results are taken instead of another test.
        print_line: Shows a line of a helper.
    """

    def __init__(self, queue: TestQueue, most: int, recalls: bool, print_line: Callable[[str], None]) -> None:
        self.most = most
        self._queue = queue
        self._recalls = recalls
        self._print_line = print_line
        self._since = time.monotonic()
        self._processes: list[subprocess.Popen[str]] = []
        self._threads: list[threading.Thread] = []

    def begin_if_worth(self) -> None:
        """Begin the helpers if there is still work for them after some seconds."""
        if self._processes or time.monotonic() - self._since < PATIENCE[0] or not self._queue.can_be_shared:
            return
        self.most = min(self.most, _n_with_memory())
        for _ in range(self.most):
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "metaexp.reproduce.retests.helper", *trust_arguments()],
                env=with_metaexp(os.environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                encoding="utf-8", start_new_session=True,
            )  # fmt: skip
            self._processes.append(process)
            thread = threading.Thread(target=_Talk(process, self._queue, self._recalls, self._print_line), daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """End the helpers. They keep nothing, so they are killed."""
        for process in self._processes:
            process.kill()
        for process, thread in zip(self._processes, self._threads, strict=True):
            process.wait()
            thread.join(_SECONDS_OF_AN_END)


def _n_with_memory() -> int:
    """How many helpers there is memory for, if each needs as much as this process has needed."""
    free, own = available_memory(), peak_bytes()
    return sys.maxsize if free is None or not own else free // own


class _Talk:
    """What a thread does: it gives tests and chunks to one helper, until none are left or the helper ends."""

    def __init__(
        self, process: subprocess.Popen[str], queue: TestQueue, recalls: bool, print_line: Callable[[str], None]
    ) -> None:
        self._process = process
        self._queue = queue
        self._recalls = recalls
        self._print_line = print_line
        self._refused: list[QueuedTest] = []

    def __call__(self) -> None:
        last = ""
        while (taken := self._queue.take(last, is_main=False, refused=self._refused)) is not None:
            test, begins = taken
            last = test.wanted.data
            if not self._work(test, begins):
                return

    def _work(self, test: QueuedTest, begins: bool) -> bool:
        """Let the helper work on a test, and return whether it goes on with another."""
        start: int | None = None
        try:
            self._send(
                folder=str(test.wanted.folder), overrides=test.wanted.overrides, begins=begins, recalls=self._recalls
            )
            since = 0.0
            while True:
                message = self._read()
                if "next" in message:
                    start, since = self._queue.next_start(test, message["next"], begins=begins), time.monotonic()
                    self._send(start=start)
                elif "rows" in message and start is not None:
                    self._queue.put(test, start, message["rows"], time.monotonic() - since)
                    start = None
                elif "line" in message:
                    self._print_line(message["line"])
                elif "all" in message:
                    self._send(rows=self._queue.all_rows(test))
                else:
                    break
            if "end" in message:
                self._queue.end(test, _retested(message))
                return True
            goes_on = True
        except (OSError, ValueError, LookupError):
            goes_on = False
        if start is not None:
            self._queue.put_back(test, start)
        self._refused.append(test)
        self._queue.leave(test, begins=begins)
        if not goes_on and not self._queue.is_closed:
            self._say_how_it_ended(test)
        return goes_on

    def _say_how_it_ended(self, test: QueuedTest) -> None:
        try:
            code = self._process.wait(_SECONDS_OF_AN_END)
        except subprocess.TimeoutExpired:  # what it said was not understood
            self._process.kill()
            code = 0
        perhaps = ", killed as the system does when memory runs out" if code == -signal.SIGKILL else ""
        self._print_line(f"a process that helped with {test.wanted.name} has ended{perhaps}; the others do its work")

    def _send(self, **message: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())  # an empty line is a ValueError
        return found


def _retested(message: dict[str, Any]) -> Any:
    from metaexp.run.evaluation.evaluate import Retested

    evaluation: Evaluation = build(Evaluation, message["end"])
    return Retested(evaluation, *message["more"])
