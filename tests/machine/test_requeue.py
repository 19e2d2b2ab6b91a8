"""A cluster's signal before the time limit: workers save first, then submitit's handler puts the job into the queue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from metaexp.machine.requeue import BEFORE_THE_END, ignore_signals_of_clusters, save_before_requeue


class Watched:
    """A worker that notes what is asked of it."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def stop(self) -> None:
        self.said.append("stop")

    def wait(self, seconds: float | None = None) -> int | None:
        self.said.append("wait")
        return 0


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in BEFORE_THE_END}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", BEFORE_THE_END)
def test_workers_save_before_the_job_goes_back_into_the_queue(number: signal.Signals) -> None:
    said: list[str] = []
    signal.signal(number, lambda *_: said.append("requeue"))
    workers: list[Watched] = []
    with save_before_requeue(workers):
        workers += [Watched(said), Watched(said)]  # they start within the block
        os.kill(os.getpid(), number)
    assert said == ["stop", "stop", "wait", "wait", "requeue"]
    os.kill(os.getpid(), number)  # afterwards the handler is the one of before
    assert said[5:] == ["requeue"]


def test_without_a_handler_of_submitit_nothing_changes() -> None:
    for number in BEFORE_THE_END:
        signal.signal(number, signal.SIG_DFL)
    with save_before_requeue([]):
        assert [signal.getsignal(number) for number in BEFORE_THE_END] == [signal.SIG_DFL] * 2


def test_a_worker_leaves_these_signals_to_the_process_that_watches_over_it() -> None:
    """Slurm sends them to all processes of a job, and a process without a handler ends."""
    program = (
        "import os, signal, sys; from metaexp.machine.requeue import BEFORE_THE_END, ignore_signals_of_clusters\n"
        "if sys.argv[1:]: ignore_signals_of_clusters()\n"
        "for number in BEFORE_THE_END: os.kill(os.getpid(), number)"
    )
    assert subprocess.run([sys.executable, "-c", program, "ignore"], check=False).returncode == 0
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGUSR1
    ignore_signals_of_clusters()
    os.kill(os.getpid(), signal.SIGUSR2)
