"""What the queue of tests hands out, to whom, and who gets work that was given up."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from metaexp.core.errors import RunFolderError
from metaexp.reproduce.retests.queue import QueuedTest, TestQueue, WantedTest


def wanted(name: str, data: str = "d", n_episodes: int = 10, threads: int = 1, kind: str = "k") -> WantedTest:
    return WantedTest(name, Path(name), (), n_episodes, threads, True, data, kind)


def queue(*tests: WantedTest, slots: int = 2, ended: list[str] | None = None) -> TestQueue:
    names = [] if ended is None else ended
    return TestQueue(tests, slots, lambda test, _: names.append(test.name))


def begun(tests: TestQueue, last: str = "", is_main: bool = False) -> QueuedTest:
    taken = tests.take(last, is_main=is_main)
    assert taken is not None
    assert taken[1]
    return taken[0]


def rows(n: int) -> list[list[float]]:
    return [[0.0]] * n


def end(tests: TestQueue, test: QueuedTest) -> None:
    tests.end(test, RunFolderError("an outcome"))


def test_tests_with_the_same_data_follow_each_other() -> None:
    tests = queue(*(wanted(f"{data}{i}", data) for i in range(2) for data in "ab"), slots=4)
    first, other = begun(tests), begun(tests, "b")
    assert [first.wanted.name, other.wanted.name] == ["a0", "b0"]
    assert begun(tests, "b").wanted.name == "b1"
    assert begun(tests, "a").wanted.name == "a1"


def test_no_more_threads_compute_than_there_are_slots() -> None:
    tests = queue(wanted("one"), wanted("wide", threads=2), wanted("two"))
    one = begun(tests)
    assert begun(tests).wanted.name == "two"
    end(tests, one)
    end(tests, tests.tests[2])
    assert begun(tests).wanted.name == "wide"
    alone = queue(wanted("wide", threads=8))
    assert begun(alone).wanted.name == "wide"


def test_chunks_are_handed_out_once_and_a_chunk_that_was_given_up_again() -> None:
    tests = queue(wanted("run"))
    test = begun(tests)
    assert tests.next_start(test, 4, begins=True) == 0
    taken = tests.take("", is_main=False)
    assert taken == (test, False)
    assert tests.next_start(test, 4, begins=False) == 4
    assert tests.next_start(test, 4, begins=True) == 8
    assert tests.next_start(test, 4, begins=False) is None
    tests.put_back(test, 4)
    assert tests.next_start(test, 4, begins=True) == 4
    for start, n in ((8, 2), (0, 4), (4, 4)):
        tests.put(test, start, [[float(start + i)] for i in range(n)], 1.0)
    assert tests.next_start(test, 4, begins=True) is None
    assert tests.all_rows(test) == [[float(i)] for i in range(10)]


def test_who_began_a_test_waits_for_the_chunks_of_others() -> None:
    tests, found = queue(wanted("run")), []
    test = begun(tests)
    assert [tests.next_start(test, 5, begins=True) for _ in range(2)] == [0, 5]
    tests.put(test, 0, rows(5), 1.0)
    waiting = threading.Thread(target=lambda: found.append(tests.next_start(test, 5, begins=True)))
    waiting.start()
    tests.put_back(test, 5)
    waiting.join(60)
    assert found == [5]


def test_a_test_that_a_helper_gave_up_is_left_to_this_process() -> None:
    tests = queue(wanted("run"), wanted("next"))
    test = begun(tests)
    tests.leave(test, begins=True)
    assert begun(tests).wanted.name == "next"
    assert begun(tests, is_main=True) is test


def test_a_helper_does_not_return_to_a_test_that_it_could_not_help_with() -> None:
    tests = queue(wanted("run"))
    test = begun(tests)
    tests.next_start(test, 4, begins=True)

    def taken(refused: Sequence[QueuedTest]) -> object:
        found: list[object] = []
        thread = threading.Thread(target=lambda: found.append(tests.take("", is_main=False, refused=refused)))
        thread.start()
        if refused:
            tests.close()
        thread.join(60)
        return found[0]

    assert taken([]) == (test, False)
    assert taken([test]) is None


def test_the_end_is_told_once_and_nothing_is_left_then() -> None:
    ended: list[str] = []
    tests = queue(wanted("a"), wanted("b"), ended=ended)
    for _ in range(2):
        end(tests, begun(tests))
    assert ended == ["a", "b"]
    assert tests.take("", is_main=True) is None
    assert not tests.can_be_shared


def test_the_time_left_is_that_of_the_episodes_left() -> None:
    larger = wanted("other", kind="another", n_episodes=1000)._replace(n_examples=30)
    tests = queue(wanted("a")._replace(n_examples=10), wanted("b")._replace(n_examples=10), larger)
    assert tests.work_left() is None
    test = begun(tests)
    assert tests.can_be_shared
    tests.next_start(test, 5, begins=True)
    tests.put(test, 0, rows(5), 10.0)
    per_test, of_larger = 10 * 2.0, 1000 * 3 * 2.0  # of another kind, as long for an example as the known
    assert tests.work_left() == pytest.approx(5 * 2.0 + per_test + of_larger)
    end(tests, test)
    assert tests.work_left() == pytest.approx(per_test + of_larger)


def test_a_result_that_was_known_says_how_long_others_of_its_kind_take() -> None:
    tests = queue(wanted("a"), wanted("b"))
    known = SimpleNamespace(is_recalled=True, seconds=30.0)
    tests.end(begun(tests), known)  # type: ignore[arg-type]
    assert tests.work_left() == pytest.approx(30.0)
    now = queue(wanted("a"), wanted("b"))
    now.end(begun(now), SimpleNamespace(is_recalled=False, seconds=30.0))  # type: ignore[arg-type]
    assert now.work_left() is None  # its chunks said how long they took
