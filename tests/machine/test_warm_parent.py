"""Processes forked from a warm parent: each is like a fresh one, and dies alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from warm_parents import start_warm_parent

from metaexp.machine import forked_process
from metaexp.machine.forked_process import ForkedProcess, WarmParent, can_fork

pytestmark = pytest.mark.skipif(not can_fork(), reason="no warm parents here")

WAIT = 120.0
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WarmParent]:
    """A warm parent started in an empty folder."""
    monkeypatch.chdir(tmp_path)
    with start_warm_parent(ENV) as made:
        yield made


def log() -> Path:
    return Path("log.txt")


def until_printed(text: str) -> None:
    while not log().exists() or text not in log().read_text():
        time.sleep(0.01)


def dies(process: ForkedProcess) -> int:
    return process.wait(WAIT)


def test_output_goes_to_the_log_and_the_exit_code_is_reported(parent: WarmParent) -> None:
    log().write_text("before\n")
    assert dies(parent.fork(["import sys; print('out'); print('err', file=sys.stderr); code = 7"], log())) == 7
    assert sorted(log().read_text().split()) == ["before", "err", "out"]
    assert dies(parent.fork(["raise SystemExit('no')"], log())) == 1
    assert dies(parent.fork(["print('again')"], log())) == 0
    assert log().read_text().endswith("no\nagain\n")


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
        ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os; os.abort()", -signal.SIGABRT),
        ("import os; os._exit(9)", 9),
        ("raise RuntimeError('on fire')", 1),
    ],
)
def test_whatever_ends_one_process_ends_neither_the_parent_nor_the_others(
    parent: WarmParent, statement: str, code: int
) -> None:
    other = parent.fork(["import os; os.read(0, 1)"], log())
    assert dies(parent.fork([statement], log())) == code
    assert parent.is_alive
    assert other.poll() is None
    other.send_signal(signal.SIGTERM)
    assert dies(other) == -signal.SIGTERM
    assert dies(parent.fork(["code = 3"], log())) == 3


def test_signals_are_delivered_also_those_sent_before_there_is_a_process(parent: WarmParent) -> None:
    early = parent.fork(["import time; time.sleep(600)"], log())
    assert early.pid is None
    early.send_signal(signal.SIGTERM)
    assert dies(early) == -signal.SIGTERM
    late = parent.fork(["print('runs', flush=True); import time; time.sleep(600)"], log())
    until_printed("runs")
    late.kill()
    assert dies(late) == -signal.SIGKILL
    late.send_signal(signal.SIGTERM)
    late.kill()
    assert late.poll() == -signal.SIGKILL


def test_what_the_terminal_sends_to_all_leaves_the_parent_alone(parent: WarmParent) -> None:
    assert dies(parent.fork([""], log())) == 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(parent.pid, number)
    assert dies(parent.fork(["code = 4"], log())) == 4
    told = "import signal; print([signal.getsignal(n) for n in (1, 2, 15)], signal.pthread_sigmask(0, []))"
    assert dies(parent.fork([told], Path("forked.txt"))) == 0
    fresh = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout
    assert [line.partition("function")[0] for line in Path("forked.txt").read_text().splitlines()] == [
        line.partition("function")[0] for line in fresh.splitlines()
    ]


def test_where_the_parent_dies_its_processes_go_on_and_their_ends_are_known(parent: WarmParent) -> None:
    statement = "import os; print('runs', flush=True); os.read(0, 1); code = 5"
    process, killed = parent.fork([statement], log()), parent.fork([statement], Path("other.txt"))
    until_printed("runs")
    while killed.poll() is None and killed.pid is None:
        time.sleep(0.01)
    os.kill(parent.pid, signal.SIGKILL)
    while parent.is_alive:
        assert process.poll() is None
    killed.kill()
    assert dies(killed) == -signal.SIGKILL
    os.close(process._stdin)
    process._stdin = -1
    assert dies(process) == 5
    assert parent.why_dead() == "killed by SIGKILL"
    lost = parent.fork([""], log())
    assert lost.poll() is None
    assert lost.is_lost


def test_a_parent_that_cannot_start_loses_its_requests_and_reports_why(tmp_path: Path) -> None:
    with start_warm_parent(ENV, "raise ImportError('no such thing')") as parent:
        process = parent.fork([""], tmp_path / "log.txt")
        while not process.is_lost:
            assert process.poll() is None
        assert not parent.is_ready
        assert parent.why_dead() == "exit code 1: ImportError: no such thing"
        assert process.wait() == 1


def test_a_process_that_was_killed_before_it_began_never_begins(tmp_path: Path) -> None:
    with start_warm_parent(ENV, "import time; time.sleep(600)") as parent:
        process = parent.fork(["open('began', 'w')"], tmp_path / "log.txt")
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not parent.is_alive


def test_a_parent_with_threads_refuses_to_fork(tmp_path: Path) -> None:
    load = "import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()"
    with start_warm_parent(ENV, load) as parent:
        process = parent.fork([""], tmp_path / "log.txt")
        while not process.is_lost:
            assert process.poll() is None
        assert "the warm parent has 2 threads" in parent.why_dead()


def test_a_parent_whose_preparation_starts_a_thread_refuses_to_fork(parent: WarmParent) -> None:
    thread = "import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()"
    process = parent.fork(["", thread], log())
    while not process.is_lost:
        assert process.poll() is None
    assert "the warm parent has 2 threads" in parent.why_dead()


def test_the_parent_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """And the processes that it forked learn it from their standard input."""
    script = """
import os, sys, time
from pathlib import Path
from warm_parents import start_warm_parent
with start_warm_parent(dict(os.environ)) as parent:
    process = parent.fork(["import os; os.read(0, 1); open('stopped', 'w')"], Path("log.txt"))
    while process.pid is None:
        process.poll()
    print(parent.pid, process.pid, flush=True)
    time.sleep(600)
"""
    leader = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=ENV, stdout=subprocess.PIPE)
    assert leader.stdout is not None
    numbers = [int(word) for word in leader.stdout.readline().split()]
    leader.kill()
    leader.wait()
    leader.stdout.close()
    while any(is_running(number) for number in numbers):
        time.sleep(0.01)
    assert (tmp_path / "stopped").exists()


def is_running(number: int) -> bool:
    """Whether there is such a process, which is not a zombie."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


FRESH = """
import gc, os, resource, signal, sys, threading, warnings
print(sorted(os.environ.items()))
print(os.getcwd(), os.getpgrp(), os.getsid(0), os.getpriority(0, 0), os.umask(0))
print(resource.getrlimit(resource.RLIMIT_NOFILE), sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1])
print([stream.encoding + stream.errors for stream in (sys.stdin, sys.stdout, sys.stderr)])
print([stream.line_buffering for stream in (sys.stdout, sys.stderr)], sys.flags.safe_path)
print(warnings.filters, threading.active_count(), os.get_blocking(0))
"""


def test_a_process_has_what_a_fresh_one_has(tmp_path: Path) -> None:
    """Environment, folder, group, session, niceness, umask, limits, open files, streams and warnings."""
    strange = ["sh", "-c", 'umask 027; ulimit -n 321; exec nice -n 3 "$@"', "sh"]
    env = {**ENV, "PYTHONWARNINGS": "error::UserWarning", "STRANGE": "a b", "PYTHONIOENCODING": "latin-1"}
    with start_warm_parent(env, prefix=strange) as parent:
        assert dies(parent.fork([FRESH], tmp_path / "forked.txt")) == 0
    with (tmp_path / "fresh.txt").open("ab") as file:
        command = [*strange, sys.executable, "-P", "-c", FRESH]
        subprocess.run(command, env=env, stdin=subprocess.PIPE, stdout=file, stderr=file, check=True)
    lines = [(tmp_path / name).read_text("latin-1").splitlines() for name in ("forked.txt", "fresh.txt")]
    assert lines[0] == lines[1]
    assert "23 " not in lines[0][0]
    assert lines[0][1].endswith(f" {os.getpriority(0, 0) + 3} 23"), "niceness, and umask 27 (octal)"
    assert "[0, 1, 2]" in lines[0][2]


def test_what_a_process_registers_for_its_end_is_done_and_what_the_parent_made_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    load = (
        "import atexit, pathlib, shutil, sys, weakref\n"
        f"folder = pathlib.Path({str(tmp_path / 'made')!r}); folder.mkdir()\n"
        "atexit.register(shutil.rmtree, folder)\n"
        "weakref.finalize(sys, pathlib.Path('finalized').touch)\n"
        "print('from the imports', file=sys.stderr)"
    )
    job = (
        "import threading, time\n"
        "atexit.register(print, 'at the end')\n"
        "weakref.finalize(time, print, 'finalized')\n"
        "threading.Thread(target=lambda: (time.sleep(0.1), print('joined'))).start()"
    )
    with start_warm_parent(ENV, load) as parent:
        assert dies(parent.fork([job], tmp_path / "log.txt")) == 0
        assert (tmp_path / "made").is_dir()
        assert not Path("finalized").exists()
        assert dies(parent.fork([""], tmp_path / "second.txt")) == 0
    assert not (tmp_path / "made").exists()
    assert Path("finalized").exists()
    assert (tmp_path / "log.txt").read_text().splitlines() == ["from the imports", "joined", "at the end", "finalized"]
    assert (tmp_path / "second.txt").read_text() == "from the imports\n"


def test_what_fails_in_the_preparation_costs_no_job(parent: WarmParent) -> None:
    assert dies(parent.fork(["code = len(prepared)", "prepared.append(1)", "1 / 0"], log())) == 1
    assert dies(parent.fork(["code = len(prepared)", "prepared.append(1)"], log())) == 2


def test_elsewhere_than_on_linux_nothing_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forked_process.sys, "platform", "darwin")
    assert not can_fork()
    monkeypatch.setattr(forked_process.sys, "platform", "win32")
    assert not can_fork()
    monkeypatch.undo()
    monkeypatch.setattr(os, "pidfd_open", lambda _: (_ for _ in ()).throw(OSError("not here")))
    assert not can_fork()
