"""Signals are noted inside the block and mean what they meant before outside it."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from metaexp.core.errors import MetaexpError
from metaexp.machine.signals import (
    HANDLED,
    AbortedWork,
    Interrupted,
    SharedStopRequest,
    StopRequest,
    note_early,
    stop_on_signals,
)
from metaexp.sweep.processes import worker


@pytest.mark.parametrize("number", HANDLED)
def test_the_first_signal_is_only_noted(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert stop.signal_number == number
    assert signal.getsignal(number) is before


def test_a_second_sigint_interrupts_python_at_once() -> None:
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal_number == signal.SIGINT


def test_a_signal_repeated_at_once_by_a_launcher_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal_number == signal.SIGINT


@pytest.mark.parametrize("request_", [StopRequest(), SharedStopRequest()])
def test_a_second_signal_after_a_while_interrupts_python_at_once(
    monkeypatch: pytest.MonkeyPatch, request_: StopRequest
) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    with stop_on_signals(request_):
        os.kill(os.getpid(), signal.SIGTERM)
        clock[0] += 2.5
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_sighup_stays_ignored_under_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_gives_up_work_that_changes_nothing_and_no_other() -> None:
    with stop_on_signals() as stop:
        with stop.abort_on_signal():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop
    with stop_on_signals() as stop:
        with pytest.raises(AbortedWork), stop.abort_on_signal():
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal_number == signal.SIGTERM


def test_the_alarm_of_a_signal_is_not_a_second_signal() -> None:
    with stop_on_signals() as stop:
        with stop.abort_on_signal(1000.0):
            os.kill(os.getpid(), signal.SIGTERM)
            stop._is_overdue = True  # the alarm, which comes when the work has ended
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal_number == signal.SIGTERM


def test_several_ranks_do_their_work_to_the_end() -> None:
    request = SharedStopRequest()
    with stop_on_signals(request), request.abort_on_signal():
        os.kill(os.getpid(), signal.SIGTERM)
    assert request.pending == signal.SIGTERM


def test_handlers_are_put_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="inside"), stop_on_signals():
        raise ValueError("inside")
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_no_handler_is_set() -> None:
    before = signal.getsignal(signal.SIGINT)
    found: list[tuple[StopRequest, object]] = []

    def work() -> None:
        with stop_on_signals() as stop:
            found.append((stop, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    [(stop, handler)] = found
    assert not stop
    assert handler is before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_exit_code_tells_the_signal(number: int, code: int) -> None:
    error = Interrupted("stopped", number)
    assert isinstance(error, MetaexpError)
    assert error.exit_code == code


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_whose_error_a_finalizer_loses_stops_what_follows() -> None:
    class Finalized:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            sum(range(10))

    before = signal.signal(signal.SIGTERM, worker._stop_early)
    try:
        Finalized()  # no error reaches this line
        Finalized()
        with stop_on_signals() as request:
            assert request.signal_number == signal.SIGTERM
        with stop_on_signals() as later:
            assert not later, "the control: both stop one thing"
        note_early(signal.SIGINT)
        note_early(signal.SIGTERM)
        with stop_on_signals() as request:
            assert request.signal_number == signal.SIGINT, "the first"
    finally:
        signal.signal(signal.SIGTERM, before)
