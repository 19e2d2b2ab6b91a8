"""Other processes that help to test weights: the same numbers, whoever measures them and whoever dies."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from metaexp.core.errors import MetaexpError
from metaexp.reproduce.planned_tests import plan_test
from metaexp.reproduce.retests import helpers, run
from metaexp.reproduce.retests.queue import QueuedTest, TestQueue, WantedTest
from metaexp.run.evaluation.evaluate import Retested
from metaexp.run.progress import Lines

RESULTS = Path(__file__).parents[3] / "docs" / "results"
SECONDS = 120


@pytest.fixture(autouse=True)
def two_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(helpers, "PATIENCE", [0.0])
    monkeypatch.setattr(run, "cores", lambda: 2)


def retested(*names: str, folder: Path = RESULTS) -> dict[str, Retested | MetaexpError]:
    """Name of a run -> its test."""
    found: dict[str, Retested | MetaexpError] = {}

    def note(wanted: WantedTest, outcome: Retested | MetaexpError) -> None:
        found[wanted.name] = outcome

    tests = [plan_test(folder / name).wanted for name in names]
    run.retest_all(tests, Lines(Console(quiet=True)), note, recalls=False)
    return found


def digest(found: Retested | MetaexpError) -> str | None:
    assert isinstance(found, Retested)
    return found.evaluation.episodes_sha256


def with_helper(monkeypatch: pytest.MonkeyPatch, on_chunk: Callable[[threading.Event], None]) -> threading.Event:
    """Let this process go on after its first chunk only when a helper took a chunk and ``on_chunk`` was called."""
    helped = threading.Event()
    plain = TestQueue.next_start

    def next_start(self: TestQueue, test: QueuedTest, chunk: int, *, begins: bool) -> int | None:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and test.next:
            assert helped.wait(SECONDS)
        start = plain(self, test, chunk, begins=begins)
        if not is_main and start is not None and not helped.is_set():
            on_chunk(helped)
        return start

    monkeypatch.setattr(TestQueue, "next_start", next_start)
    return helped


def test_episodes_that_another_process_measured_are_the_same_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = retested("fine_tune_sinusoid", "fine_tune_sinusoid-seed1")
    helped = with_helper(monkeypatch, threading.Event.set)
    shared = retested("fine_tune_sinusoid", "fine_tune_sinusoid-seed1")
    assert helped.is_set()
    assert {name: digest(test) for name, test in shared.items()} == {name: digest(t) for name, t in alone.items()}
    assert len({digest(test) for test in shared.values()}) == 2


def test_the_chunk_of_a_helper_that_dies_is_measured_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = retested("fine_tune_sinusoid")
    begun: list[helpers.Helpers] = []
    plain = helpers.Helpers.begin_if_worth

    def begin(self: helpers.Helpers) -> None:
        begun[:] = [self]
        plain(self)

    def die(helped: threading.Event) -> None:
        for process in begun[0]._processes:
            process.kill()
            process.wait()
        helped.set()

    monkeypatch.setattr(helpers.Helpers, "begin_if_worth", begin)
    helped = with_helper(monkeypatch, die)
    lines: list[str] = []
    monkeypatch.setattr(Lines, "print_line", lambda _, text: lines.append(text))
    shared = retested("fine_tune_sinusoid")
    assert helped.is_set()
    said = "a process that helped with fine_tune_sinusoid has ended, killed as the system does when memory runs out; "
    assert [line for line in lines if line.startswith(said)] != []
    assert digest(shared["fine_tune_sinusoid"]) == digest(alone["fine_tune_sinusoid"])


def test_an_error_is_the_same_with_and_without_a_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        shutil.copytree(RESULTS / "fine_tune_sinusoid", tmp_path / name)
    (tmp_path / "b" / "checkpoints" / "best.safetensors").write_bytes(b"no weights")
    monkeypatch.setattr(run, "cores", lambda: 1)
    alone = retested("b", folder=tmp_path)
    monkeypatch.setattr(run, "cores", lambda: 2)
    helped = threading.Event()
    plain = TestQueue.leave

    def leave(self: TestQueue, test: QueuedTest, *, begins: bool) -> None:
        plain(self, test, begins=begins)
        if begins:  # a helper could not do it
            helped.set()

    def next_start(self: TestQueue, test: QueuedTest, chunk: int, *, begins: bool) -> int | None:
        if threading.current_thread() is threading.main_thread() and test.next:
            assert helped.wait(SECONDS)
        return next_plain(self, test, chunk, begins=begins)

    next_plain = TestQueue.next_start
    monkeypatch.setattr(TestQueue, "leave", leave)
    monkeypatch.setattr(TestQueue, "next_start", next_start)
    shared = retested("a", "b", folder=tmp_path)
    assert isinstance(shared["a"], Retested)
    assert isinstance(shared["b"], MetaexpError)
    assert str(shared["b"]) == str(alone["b"])


def test_no_more_helpers_begin_than_there_is_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[list[str]] = []

    class Popen:
        def __init__(self, command: list[str], **_: object) -> None:
            begun.append(command)
            raise OSError("no process is started here")

    def n_begun(free: int | None, own: int | None) -> int:
        begun.clear()
        monkeypatch.setattr(helpers, "available_memory", lambda: free)
        monkeypatch.setattr(helpers, "peak_bytes", lambda: own)
        queue = TestQueue([plan_test(RESULTS / "fine_tune_sinusoid").wanted], 4, lambda *_: None)
        with suppress(OSError):
            helpers.Helpers(queue, 1, False, print).begin_if_worth()
        return len(begun)

    monkeypatch.setattr(helpers.subprocess, "Popen", Popen)
    assert n_begun(10 << 30, 1 << 30) == 1
    assert n_begun(1 << 30, 2 << 30) == 0
    assert n_begun(None, None) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say")
def test_a_helper_goes_first_where_memory_runs_out() -> None:
    program = (
        "from pathlib import Path\n"
        "from metaexp.data.mapped.placement import available_memory\n"
        "from metaexp.machine.memory import end_first_without_memory, peak_bytes\n"
        "before = int(Path('/proc/self/oom_score_adj').read_text()); end_first_without_memory()\n"
        "assert int(Path('/proc/self/oom_score_adj').read_text()) > before\n"
        "assert 0 < peak_bytes() < available_memory()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
