"""The tests that are left, and the chunks of those that run. Several threads take from it. Without torch."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from metaexp.core.errors import MetaexpError

if TYPE_CHECKING:
    from metaexp.run.evaluation.chunks import Rows
    from metaexp.run.evaluation.evaluate import Retested

_SECONDS_BETWEEN_LOOKS = 0.5


class LeftError(Exception):
    """Ends the help with a test, of which no chunk is left."""


class WantedTest(NamedTuple):
    """A test of the weights of a run.

    Attributes:
        name: What the user sees.
        folder: The run folder.
        overrides: Changes to the settings of the run.
        n_episodes: How many episodes it has.
        threads: How many threads it takes.
        is_on_cpu: Whether it is computed on the CPU.
        data: What decides which data it loads. Tests with equal ones share them.
        kind: Tests with equal ones take equally long for an episode.
        n_examples: How many examples an episode has, support and queries.
    """

    name: str
    folder: Path
    overrides: tuple[str, ...]
    n_episodes: int
    threads: int
    is_on_cpu: bool
    data: str
    kind: str
    n_examples: int = 1


@dataclass(eq=False)
class QueuedTest:
    """A test, and what is measured of it.

    Attributes:
        wanted: The test.
        state: How far it is.
        is_for_main: Whether only this process may begin it, because another one failed.
        chunk: Episodes of a chunk; 0 until somebody has begun to measure.
        next: The first episode that nobody has taken.
        put_back: First episodes of chunks that somebody took and did not measure.
        rows: First episode of a chunk -> its rows.
    """

    wanted: WantedTest
    state: Literal["waiting", "running", "ended"] = "waiting"
    is_for_main: bool = False
    chunk: int = 0
    next: int = 0
    put_back: list[int] = field(default_factory=list)
    rows: dict[int, Rows] = field(default_factory=dict)

    @property
    def n_measured(self) -> int:
        """How many episodes are measured."""
        return sum(map(len, self.rows.values()))

    @property
    def has_free_chunks(self) -> bool:
        """Whether there are chunks that nobody has taken."""
        return bool(self.chunk) and (bool(self.put_back) or self.next < self.wanted.n_episodes)


OnEnd = Callable[[WantedTest, "Retested | MetaexpError"], None]
"""Called at the end of each test, by one thread at a time."""


class TestQueue:
    """Hands out tests, those with the same data after each other, and then the chunks of tests that run.

    Args:
        wanted: The tests.
        slots: How many threads may compute at the same time.
        on_end: Called at the end of each test.

    Attributes:
        is_closed: Whether nothing is handed out any more.
    """

    __test__ = False  # not a test of pytest

    def __init__(self, wanted: Sequence[WantedTest], slots: int, on_end: OnEnd) -> None:
        first = {test.data: place for place, test in reversed(list(enumerate(wanted)))}
        self.tests = [QueuedTest(test) for test in sorted(wanted, key=lambda test: first[test.data])]
        self.slots = slots
        self._on_end = on_end
        self._changed = threading.Condition()
        self.is_closed = False
        self._active: Counter[int] = Counter()
        self._seconds: Counter[str] = Counter()
        self._episodes: Counter[str] = Counter()

    def take(
        self, last: str, *, is_main: bool, refused: Sequence[QueuedTest] = (), idle: Callable[[], None] | None = None
    ) -> tuple[QueuedTest, bool] | None:
        """Wait for a test to begin or to help with, and return it, and whether it is to be begun. None at the end.

        Args:
            last: The data that are loaded already.
            is_main: Whether the caller is the main thread, for which some tests are left.
            refused: Tests that the caller does not help with.
            idle: Called now and then while there is nothing to do.
        """
        while True:
            with self._changed:
                if self.is_closed or self.n_ended == len(self.tests):
                    return None
                found = self._choose(last, is_main, refused)
                if found is not None:
                    test, begins = found
                    test.state = "running"
                    self._active[id(test)] += 1
                    return test, begins
                self._changed.wait(_SECONDS_BETWEEN_LOOKS)
            if idle is not None:
                idle()

    def _choose(self, last: str, is_main: bool, refused: Sequence[QueuedTest]) -> tuple[QueuedTest, bool] | None:
        busy = sum(self._active[id(test)] * test.wanted.threads for test in self.tests)
        fit = [test for test in self.tests if busy == 0 or busy + test.wanted.threads <= self.slots]
        waiting = [test for test in fit if test.state == "waiting" and (is_main or not test.is_for_main)]
        if waiting:
            return min(waiting, key=lambda test: test.wanted.data != last), True
        open_ones = [test for test in fit if test.state == "running" and test.has_free_chunks and test not in refused]
        return (max(open_ones, key=lambda test: test.wanted.n_episodes - test.next), False) if open_ones else None

    def next_start(self, test: QueuedTest, chunk: int, *, begins: bool) -> int | None:
        """Take a chunk and return its first episode. None if there is none; who began the test waits for all rows.

        Args:
            test: The test.
            chunk: How many episodes a chunk has.
            begins: Whether the caller has begun the test.
        """
        with self._changed:
            test.chunk = chunk
            self._changed.notify_all()
            while not self.is_closed and test.state != "ended":
                if test.put_back:
                    return test.put_back.pop()
                if test.next < test.wanted.n_episodes:
                    test.next += chunk
                    return test.next - chunk
                if not begins or test.n_measured == test.wanted.n_episodes:
                    return None
                self._changed.wait(_SECONDS_BETWEEN_LOOKS)
        return None

    def put(self, test: QueuedTest, start: int, rows: Rows, seconds: float) -> None:
        """Take the rows of a chunk.

        Args:
            test: The test.
            start: The first episode.
            rows: The rows.
            seconds: How long it took.
        """
        with self._changed:
            test.rows[start] = rows
            self._seconds[test.wanted.kind] += seconds  # type: ignore[assignment]
            self._episodes[test.wanted.kind] += len(rows)
            self._changed.notify_all()

    def put_back(self, test: QueuedTest, start: int) -> None:
        """Take back a chunk that was not measured.

        Args:
            test: The test.
            start: The first episode.
        """
        with self._changed:
            test.put_back.append(start)
            self._changed.notify_all()

    def all_rows(self, test: QueuedTest) -> Rows:
        """Return the rows of a test, in order."""
        with self._changed:
            return [row for start in sorted(test.rows) for row in test.rows[start]]

    def leave(self, test: QueuedTest, *, begins: bool) -> None:
        """Stop working on a test that has not ended. If the caller has begun it, the main thread will go on.

        Args:
            test: The test.
            begins: Whether the caller has begun it.
        """
        with self._changed:
            self._active[id(test)] -= 1
            if begins and test.state != "ended":
                test.state, test.is_for_main = "waiting", True
            self._changed.notify_all()

    def end(self, test: QueuedTest, outcome: Retested | MetaexpError) -> None:
        """Note the end of a test.

        Args:
            test: The test.
            outcome: Its result, or why there is none.
        """
        with self._changed:
            self._active[id(test)] -= 1
            test.state, test.rows = "ended", {}
            if not isinstance(outcome, MetaexpError) and outcome.is_recalled:
                self._seconds[test.wanted.kind] += outcome.seconds  # type: ignore[assignment]
                self._episodes[test.wanted.kind] += test.wanted.n_episodes
            self._on_end(test.wanted, outcome)
            self._changed.notify_all()

    def close(self) -> None:
        """Hand out nothing any more."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()

    @property
    def n_ended(self) -> int:
        """How many tests have ended."""
        return sum(test.state == "ended" for test in self.tests)

    @property
    def can_be_shared(self) -> bool:
        """Whether there is work for another process: a test that waits, or chunks of one that runs."""
        with self._changed:
            return any(
                test.has_free_chunks if test.state == "running" else test.state == "waiting" for test in self.tests
            )

    def work_left(self) -> float | None:
        """Return how many seconds one process would need for what is left; None if nothing is measured yet.

        An example of a kind of test of which nothing is measured takes as long as one of the others, on average.
        """
        with self._changed:
            rates = {kind: self._seconds[kind] / n for kind, n in self._episodes.items() if n}
            if not rates:
                return None
            left = [(test.wanted, test.n_measured) for test in self.tests if test.state != "ended"]
            of_known = [test.wanted for test in self.tests if test.wanted.kind in rates]
            per_example = sum(rates[wanted.kind] / wanted.n_examples for wanted in of_known) / len(of_known)
            return sum(
                (wanted.n_episodes - n) * rates.get(wanted.kind, per_example * wanted.n_examples) for wanted, n in left
            )

    def running(self) -> list[tuple[str, int, int]]:
        """Return name, measured episodes and all episodes of the tests that run."""
        with self._changed:
            return [(t.wanted.name, t.n_measured, t.wanted.n_episodes) for t in self.tests if t.state == "running"]
