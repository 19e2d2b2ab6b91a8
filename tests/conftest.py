"""What all tests share: one thread each, a cache of their own, no account, and a tiny family of runs."""

from __future__ import annotations

import ctypes
import gc
import importlib
import itertools
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from coverage import Coverage

SUPPORT = Path(__file__).parent / "support"
_REPOSITORY = f"{Path(__file__).resolve().parents[1]}{os.sep}"
gc.set_threshold(100_000, 10, 10)  # imports and collection make a million objects that stay
sys.path[:0] = map(str, [SUPPORT, *sorted(SUPPORT.glob("[!_]*/"))])  # so that tests can import the helpers there

# Several test processes run at once; with a thread per core each, they would wait for one another. Set before torch
# is imported, and handed on to the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("XDG_CACHE_HOME", str(Path(tempfile.gettempdir()) / f"metaexp-tests-{os.getuid()}"))
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="metaexp-tests-config-")  # no test changes the user's settings
for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "METAEXP_OUTPUTS", "METAEXP_CONFIG_DIR", "METAEXP_TRUST"):
    os.environ.pop(name, None)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored, and tests send it
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored in what it starts behind itself

import cheap_runs  # noqa: F401
import one_thread  # noqa: F401
from events import ends_of_logs
from kept_runs import KeptRuns
from known_classes import place_of_donor as place_of_donor
from known_classes import with_donor as with_donor
from records import record as record
from rich.console import Console

from metaexp.config import loader
from metaexp.config.classes import targets
from metaexp.config.classes.source import read_module
from metaexp.machine.threads import cores
from metaexp.run.progress import Advance, Lines

COUNTED = tuple(os.environ.get("COUNTED", "").split())
loader._MOST_MADE = 2000  # tests compose far more configurations than a command does


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests: one that begins last would keep a core busy alone."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Where ``COUNTED`` has paths of tests, as in CI, branches are counted in these alone: counting takes time."""
    counting = Coverage.current() if COUNTED and not item.nodeid.startswith(COUNTED) else None
    if counting is not None:
        counting.stop()
    yield
    if counting is not None:
        counting.start()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Show, below a test that failed, what its jobs printed last."""
    outcome = yield
    report, folder = outcome.get_result(), getattr(item, "funcargs", {}).get("tmp_path")
    if report.when == "call" and report.failed and folder is not None:
        report.sections.extend(ends_of_logs(folder))


def pytest_collection_finish() -> None:
    """Leave what was imported and collected out of garbage collection, for it stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


_most_memory = [2 << 30]
"""Bytes that the process may have before it gives memory back."""


@pytest.fixture(autouse=True)
def _memory() -> Iterator[None]:
    """Where a test leaves much memory behind, give what is free back to the system, which training does not do."""
    yield
    if _memory_now() > _most_memory[0]:
        gc.collect()
        with suppress(AttributeError):  # only Linux has it
            ctypes.CDLL(None).malloc_trim(0)
        _most_memory[0] = max(2 << 30, _memory_now() * 3 // 2)


@pytest.fixture(autouse=True)
def _forget_own_code() -> Iterator[None]:
    """Forget the modules that a test has written and imported, for another test may write one of the same name.

    And what it has trusted, for jobs are told of it.
    """
    last, trusted = next(reversed(sys.modules)), set(targets._trusted)
    yield
    targets._trusted.intersection_update(trusted)
    written = tempfile.gettempdir()  # where the repository itself may be, too
    for name in list(itertools.takewhile(lambda name: name != last, reversed(sys.modules))):
        spec = getattr(sys.modules[name], "__spec__", None)
        places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or [])]
        if any(place.startswith(written) and not place.startswith(_REPOSITORY) for place in places):
            del sys.modules[name]


def _memory_now() -> int:
    """Bytes in memory; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="session")
def learn2learn() -> ModuleType:
    """learn2learn; tests are skipped, with how to install it, where it is missing."""
    from metaexp.core.errors import ConfigError
    from metaexp.engines.learn2learn import import_learn2learn

    try:
        return import_learn2learn()
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module ``tiny_runs``, trusted for the length of a test."""
    monkeypatch.setattr(targets, "_trusted", {"tiny_runs"})
    monkeypatch.setattr("metaexp.run.outputs.draw", lambda *_: {})  # figures take longer than these runs
    read_module.cache_clear()
    return importlib.import_module("tiny_runs")


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and comparisons draw no figures, which take longer than small ones."""
    from metaexp.compare.output.draw import Drawn

    monkeypatch.setattr("metaexp.run.outputs.draw", lambda *_: {})
    monkeypatch.setattr("metaexp.compare.output.write.draw", lambda _: Drawn(b"", "<svg></svg>"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: many tests wait for processes that they have started."""
    return cores() + 1


_warm: list[bool] = []


@pytest.fixture
def forked_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of sweeps are forked from this process, which has imported torch, and not from a warm parent."""
    monkeypatch.setattr("metaexp.sweep.processes.warm_start.start", importlib.import_module("forking").start)
    monkeypatch.setattr("metaexp.sweep.processes.warm_start.can_fork", lambda: False)


@pytest.fixture
def forked_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warm parents, and jobs without one, are forked from this process, which has imported torch."""
    forking = importlib.import_module("forking")
    forking.import_everything()
    monkeypatch.setattr("metaexp.machine.forked_process.subprocess", forking.SUBPROCESS)
    monkeypatch.setattr("metaexp.sweep.processes.warm_start.start", forking.start)


@pytest.fixture
def family(tiny: ModuleType, forked_jobs: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The module ``case_runs``, trusted, for sweeps and searches.

    Jobs and trials are forked from this process and draw no figures. The current folder is empty but for ``conf``.
    """
    module = importlib.import_module("case_runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(targets, "_trusted", set(module.TRUSTED))
    read_module.cache_clear()
    tiny.write_files(module.FILES, tmp_path / "conf")
    if not _warm:
        tiny.warm_up(tmp_path / "warm")
        _warm.append(True)
    return module


class StopAfter(Lines):
    """A display that stops the ``which``-th run that reaches a step, with SIGTERM."""

    def __init__(self, step: int, which: int = 1) -> None:
        super().__init__(Console(quiet=True))
        self.step, self.left = step, which

    @contextmanager
    def show_progress(self, what: str, total: int, done: int = 0) -> Iterator[Advance]:
        def advance(done: int) -> None:
            if (what, done) == ("train", self.step):
                self.left -= 1
                if self.left == 0:
                    os.kill(os.getpid(), signal.SIGTERM)

        yield advance


@pytest.fixture
def stop_after() -> type[StopAfter]:
    """The class :class:`StopAfter`."""
    return StopAfter


@pytest.fixture(scope="session")
def kept_runs(tmp_path_factory: pytest.TempPathFactory) -> KeptRuns:
    """Runs that are trained once in this process, and copied."""
    return KeptRuns(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def stopped(tiny: ModuleType, tmp_path: Path, kept_runs: KeptRuns) -> Path:
    """The folder of a run that was stopped after 7 of 12 steps: neither a log line nor a validation was due."""
    from metaexp.machine.signals import Interrupted
    from metaexp.run.job import run_job

    def train(outputs: Path) -> Path:
        with pytest.raises(Interrupted):
            run_job(tiny.settings(outputs), folder=outputs / "stopped", display=StopAfter(7))
        return outputs / "stopped"

    return kept_runs.copy("stopped", tmp_path, train)


@pytest.fixture
def finished(tiny: ModuleType, tmp_path: Path, silent: Lines, kept_runs: KeptRuns) -> Path:
    """The folder of a completed run."""
    from metaexp.run.job import run_job

    return kept_runs.copy("finished", tmp_path, lambda outputs: run_job(tiny.settings(outputs), display=silent).folder)


class ActingAt(Lines):
    """A display that does something when a stretch of work reaches a count."""

    def __init__(self, what: str, done: int, action: Callable[[], object]) -> None:
        super().__init__(Console(quiet=True))
        self.at = (what, done)
        self.action = action

    @contextmanager
    def show_progress(self, what: str, total: int, done: int = 0) -> Iterator[Advance]:
        def advance(done: int) -> None:
            if (what, done) == self.at:
                self.action()

        yield advance


@pytest.fixture
def acting_at() -> type[ActingAt]:
    """The class :class:`ActingAt`."""
    return ActingAt


@pytest.fixture
def silent() -> Lines:
    """A display that shows nothing."""
    return Lines(Console(quiet=True))
