"""A job that is asked to stop again and again, as a sweep asks, still saves, however long that takes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metaexp.machine import signals
from metaexp.sweep.processes.job_process import JobProcess

SLOW_STEP = f"""
import time
from metaexp.machine.signals import stop_on_signals
with stop_on_signals() as stop:
    print("begun", flush=True)
    while not stop:
        time.sleep(0.01)
    end = time.monotonic() + {signals._SAME_REQUEST_SECONDS + 0.5}
    while time.monotonic() < end:
        time.sleep(0.01)
print("saved", flush=True)
"""
PAUSE = 0.05


def slow_job(folder: Path) -> tuple[JobProcess, subprocess.Popen[str]]:
    """Start a process that finishes a long step after a signal, and then saves; return it once it has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_STEP], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return JobProcess(folder, process), process


def test_a_job_with_a_long_step_saves_although_it_is_asked_to_stop_again_and_again(tmp_path: Path) -> None:
    job, process = slow_job(tmp_path)
    while job.poll() is None:
        job.stop()
        time.sleep(PAUSE)
    assert process.stdout is not None
    assert (process.stdout.read(), job.poll()) == ("saved\n", 0)


def test_the_same_signals_sent_each_time_end_the_job_before_it_saves(tmp_path: Path) -> None:
    job, process = slow_job(tmp_path)
    while job.poll() is None:
        process.send_signal(signal.SIGTERM)
        time.sleep(PAUSE)
    assert process.stdout is not None
    assert "saved" not in process.stdout.read()


class Counted:
    """A process that never ends, and counts its signals."""

    def __init__(self) -> None:
        self.signals: list[int] = []

    def poll(self) -> int | None:
        return None

    def wait(self, timeout: float | None = None) -> int:
        raise subprocess.TimeoutExpired("counted", timeout or 0)

    def send_signal(self, number: int, /) -> None:
        self.signals.append(number)

    def kill(self) -> None:
        self.signals.append(signal.SIGKILL)


@pytest.mark.parametrize("n_times", [1, 2, 40])
def test_a_job_gets_one_signal_to_stop_and_can_still_be_killed(tmp_path: Path, n_times: int) -> None:
    process = Counted()
    job, another = JobProcess(tmp_path, process), JobProcess(tmp_path, process)
    for _ in range(n_times):
        job.stop()
    assert process.signals == [signal.SIGTERM]
    another.stop()  # the next process of a job that is started again
    job.kill()
    assert process.signals == [signal.SIGTERM, signal.SIGTERM, signal.SIGKILL]
