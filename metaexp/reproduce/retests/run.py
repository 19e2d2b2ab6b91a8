"""Tests the weights of many runs again, in this process and in others that help."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from metaexp.core.counted import counted
from metaexp.core.errors import MetaexpError
from metaexp.machine.threads import cores
from metaexp.reproduce.retests.helpers import Helpers
from metaexp.reproduce.retests.queue import LeftError, OnEnd, QueuedTest, TestQueue, WantedTest
from metaexp.run.evaluation.aids import Aids, LastData
from metaexp.run.evaluation.chunks import Measure, Report, Rows
from metaexp.run.evaluation.evaluate import retest
from metaexp.run.progress import Display, Silent

_SHOWN_NAMES = 2


class Estimate(NamedTuple):
    """How long tests will take, once the first episodes are measured.

    Attributes:
        seconds: What is left.
        share: The share of all episodes that takes a minute; 1 or more if all of them do.
    """

    seconds: float
    share: float


OnEstimate = Callable[[Estimate], None]


def retest_all(
    wanted: Sequence[WantedTest],
    display: Display,
    on_end: OnEnd,
    *,
    recalls: bool,
    on_estimate: OnEstimate | None = None,
) -> None:
    """Test weights again. Each result is kept in the user's cache folder at once.

    Tests with the same data follow each other, and share them. After some seconds other processes help, one for each
    core that is left; where the tests are not computed on the CPU, none do. An episode is always computed with the same
    others, so the numbers are the same for any number of processes.

    Args:
        wanted: The tests.
        display: What the user sees.
        on_end: Called at the end of each test, with its result or with the error of metaexp that ended it.
        recalls: Whether known results are taken instead of another test.
        on_estimate: Called once, as soon as it is known how long the tests take.
    """
    queue = TestQueue(wanted, cores(), on_end)
    n_processes = max(1, cores() // min((test.threads for test in wanted), default=1))
    most = n_processes - 1 if all(test.is_on_cpu for test in wanted) else 0
    helpers = Helpers(queue, most, recalls, display.print_line)
    with display.show_progress("test", len(wanted)) as advance:
        progress = _Progress(queue, display, advance, helpers, on_estimate)
        try:
            _work(queue, progress, recalls, _LinesOf(display))
        finally:
            queue.close()
            helpers.close()


def _work(queue: TestQueue, progress: _Progress, recalls: bool, display: Display) -> None:
    """Do in this process what the others do not."""
    data, last = LastData(), ""
    refused: list[QueuedTest] = []
    while (taken := queue.take(last, is_main=True, refused=refused, idle=progress.show)) is not None:
        test, begins = taken
        last = test.wanted.data
        aids = Aids(data.load, _FromQueue(queue, test, begins, progress.show), recalls, remembers=True)
        try:
            found = retest(test.wanted.folder, test.wanted.overrides, aids, display)
        except (LeftError, MetaexpError) as error:
            if begins and isinstance(error, MetaexpError):
                queue.end(test, error)
            else:
                refused.append(test)
                queue.leave(test, begins=False)
        else:
            queue.end(test, found)
        progress.show()


class _FromQueue:
    """Chunks of a test that this process measures, alone or together with others."""

    def __init__(self, queue: TestQueue, test: QueuedTest, begins: bool, show: Callable[[], None]) -> None:
        self._queue = queue
        self._test = test
        self._begins = begins
        self._show = show

    def rows(self, measure: Measure, chunk: int, n_episodes: int, report: Report) -> Rows:
        while (start := self._queue.next_start(self._test, chunk, begins=self._begins)) is not None:
            since = time.monotonic()
            try:
                found = measure(start)
            except BaseException:
                self._queue.put_back(self._test, start)
                raise
            self._queue.put(self._test, start, found, time.monotonic() - since)
            self._show()
        if not self._begins:
            raise LeftError
        return self._queue.all_rows(self._test)


class _Progress:
    """Shows how far the tests are, and lets the helpers begin."""

    def __init__(
        self,
        queue: TestQueue,
        display: Display,
        advance: Callable[[int], None],
        helpers: Helpers,
        on_estimate: OnEstimate | None,
    ) -> None:
        self._queue = queue
        self._display = display
        self._advance = advance
        self._helpers = helpers
        self._on_estimate = on_estimate
        self._all = sum(test.wanted.n_episodes for test in queue.tests)

    def show(self) -> None:
        """Show it, from the main thread."""
        self._helpers.begin_if_worth()
        work = self._queue.work_left()
        left = None if work is None else work / (1 + self._helpers.most)
        if left is not None and self._on_estimate is not None:
            self._on_estimate(Estimate(left, 60.0 / max(left, 1e-9)))
            self._on_estimate = None
        running = self._queue.running()
        named = [f"{name}: {done:,} of {counted(total, 'episode')}" for name, done, total in running[:_SHOWN_NAMES]]
        self._display.show_status("; ".join(named), left)
        self._advance(self._queue.n_ended)


class _LinesOf(Silent):
    """Shows the lines of a test, and not its progress."""

    def __init__(self, display: Display) -> None:
        self._display = display

    def print_line(self, text: str) -> None:
        self._display.print_line(text)
