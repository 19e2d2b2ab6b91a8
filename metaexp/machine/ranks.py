"""Processes that share one run: the only module that knows torch.distributed.

Every rank runs the same program: it composes its own settings and goes through the same statements in the same order.
What differs is which tasks it computes, and that rank 0 alone writes and prints. Whatever can differ between ranks (an
error, a signal) is exchanged before any of them acts on it, so no rank waits for another that has left. Warnings travel
with it. Plain values travel as JSON, through gloo.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import Any, TextIO

import torch
import torch.distributed as dist
from torch import Tensor

from metaexp.core.errors import ExitCode, MachineError, MetaexpError, NotFiniteError, first_line
from metaexp.core.terminal_text import print_text
from metaexp.machine.failures import explained
from metaexp.machine.launch import Launch
from metaexp.machine.signals import Interrupted, SharedStopRequest, StopRequest
from metaexp.machine.silence import KeptWarnings, keep_warnings, silence
from metaexp.machine.single_rank import Ranks, Result

_SOURCE = re.compile(r"^\[[^\]]*\.\w+:\d+\] ")
_START_TIMEOUT = timedelta(minutes=10)
"""How long ranks wait for one another to start."""
_END_SECONDS = 10.0
"""How long other ranks wait for rank 0 to write down and print how the run ended."""
_TIMEOUT = timedelta(hours=2)
"""How long a rank waits for a living one, which may be downloading a dataset. One that dies is noticed at once."""
_ON_ALL_RANKS = (NotFiniteError, Interrupted, SystemExit)
"""What every rank raises at the same place, so that rank 0 alone has to print it."""


class PeerError(MetaexpError):
    """Another rank ended or failed. ``exit_code`` is that rank's if it is known, else that of the machine."""

    exit_code: int = ExitCode.MACHINE


class Group(Ranks):
    """Several processes, through torch.distributed.

    Args:
        launch: The place of this process among them.
        warnings: What this process warns of.
    """

    def __init__(self, launch: Launch, warnings: KeptWarnings) -> None:
        self.launch: Launch = launch
        self.warnings = warnings
        self.rank, self.size = launch.rank, launch.size
        self._failure_is_known = False  # on every rank, so rank 0 prints it
        self._stop = SharedStopRequest()
        self._on_host = dist.new_group(backend="gloo", timeout=_TIMEOUT)
        self._on_device: dist.ProcessGroup | None = None
        self._first_process: int = self.broadcast(os.getpid)

    def gather(self, work: Callable[[], Any]) -> list[Any]:
        return self._exchange(work)[1]

    def run(self, work: Callable[[], Result]) -> Result:
        return self._exchange(work, send=False)[0]

    def run_in_turn(self, work: Callable[[], None]) -> None:
        is_first_here = self.launch.local_rank == 0
        self.run(work if is_first_here else _nothing)
        self.run(_nothing if is_first_here else work)

    def broadcast(self, work: Callable[[], Any]) -> Any:
        return self.gather(work if self.rank == 0 else _nothing)[0]

    def require_equal(self, what: str, work: Callable[[], str]) -> None:
        answers = self.gather(work)
        others = [rank for rank, answer in enumerate(answers) if answer != answers[0]]
        if others:
            self._failure_is_known = True
            raise MachineError(
                f"{what} of rank {others[0]} ({answers[others[0]][:12]}) is not that of rank 0 ({answers[0][:12]}), so "
                "the ranks would train apart. All machines must have the same configuration, data and versions, and "
                "processors or GPUs of one kind."
            )

    def barrier(self) -> None:
        self.run(_nothing)

    def stop_request(self) -> StopRequest:
        return self._stop

    def all_reduce(self, tensor: Tensor, flags: Tensor) -> Tensor:
        with _raise_peer_error():
            if tensor.device.type == "cpu":
                tensor[-len(flags) :] = flags
                dist.all_reduce(tensor, group=self._on_host)
                return tensor[-len(flags) :]
            # Through gloo, which notices a rank that has died and does not wait for the device.
            dist.all_reduce(flags, group=self._on_host)
            if not flags[: self.size].any():
                dist.all_reduce(tensor, group=self._group_on_device())
            return flags

    def broadcast_tensor(self, tensor: Tensor) -> None:
        with _raise_peer_error():
            dist.broadcast(tensor, src=0, group=self._on_host)

    @property
    def pending_signal(self) -> int:
        return self._stop.pending or 0

    def stop_for(self, number: int) -> None:
        if number:
            self._stop.stop_for(number)

    def leave(self, error: BaseException, stderr: TextIO) -> None:
        """End after ``error``: rank 0 prints it, and others print only what rank 0 cannot know.

        Args:
            error: Why this rank ends.
            stderr: Where to print.
        """
        if self.rank == 0:
            # When another rank has failed, torchrun stops this one, which still has to say why.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            return
        self.warnings.show_rest(stderr)
        is_bug = isinstance(error, Exception) and not isinstance(error, MetaexpError)
        known = self._failure_is_known or isinstance(error, _ON_ALL_RANKS)
        if is_bug:
            print_text(f"metaexp train, rank {self.rank} of {self.size}:", file=stderr)  # Python prints the traceback
        elif isinstance(error, MetaexpError) and not known and not isinstance(error, PeerError):
            print_text(f"metaexp train, rank {self.rank} of {self.size}: {error}", file=stderr)
        if known and not is_bug:
            self._wait_for_first()

    def close(self) -> None:
        """Close the connections, so that their threads end. Nothing can be exchanged after this.

        A thread that is left while Python ends can abort the process. Call this when nothing is under way: a
        connection ends only with its last exchange.
        """
        del self._on_host, self._on_device

    def _exchange(self, work: Callable[[], Result], *, send: bool = True) -> tuple[Result, list[Any]]:
        value, error = None, None
        try:
            value = work()
        except Exception as raised:
            error = raised
        outcome = {"value": value if send else None, "error": _error_message(error), "signal": self.pending_signal}
        outcomes = self._all_gather(outcome | {"warnings": self.warnings.take()})
        self.warnings.show([outcome["warnings"] for outcome in outcomes])
        failed = [(rank, outcome["error"]) for rank, outcome in enumerate(outcomes) if outcome["error"] is not None]
        if failed:
            self._failure_is_known = True
            if error is not None:
                raise error
            rank, (text, code) = failed[0]
            raise _peer_error(f"rank {rank} of {self.size} failed: {text}", code)
        self.stop_for(max(outcome["signal"] for outcome in outcomes))
        return value, [outcome["value"] for outcome in outcomes]  # type: ignore[return-value]

    def _wait_for_first(self) -> None:
        """Wait until the process of rank 0 has ended: torchrun stops all others once one has failed."""
        if self.rank >= self.launch.local_size:  # on another machine
            return
        until = time.monotonic() + _END_SECONDS
        while time.monotonic() < until:
            try:
                os.kill(self._first_process, 0)
            except OSError:
                return
            time.sleep(0.02)

    def _group_on_device(self) -> dist.ProcessGroup:
        if self._on_device is None:
            self._on_device = dist.new_group(backend="nccl")
        return self._on_device

    def _all_gather(self, value: Any) -> list[Any]:
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        with _raise_peer_error():
            dist.all_gather(lengths, torch.tensor([len(text)]), group=self._on_host)
            longest = max(int(length) for length in lengths)
            texts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
            padded = torch.zeros(longest, dtype=torch.uint8)
            padded[: len(text)] = text
            dist.all_gather(texts, padded, group=self._on_host)
        pairs = zip(texts, lengths, strict=True)
        return [json.loads(bytes(text[: int(length)].tolist())) for text, length in pairs]


@contextmanager
def join_ranks(launch: Launch) -> Iterator[Group]:
    """Meet the other ranks of this launch. Inside this block rank 0 alone prints, also what others warn of.

    Args:
        launch: The place of this process among them.

    Yields:
        The group of all ranks.

    Raises:
        MachineError: The ranks could not meet.
    """
    stderr = sys.stderr
    with silence() if launch.rank > 0 else nullcontext(), keep_warnings(launch.rank, launch.size) as warnings:
        try:
            group = _meet(launch, warnings)
        except MachineError as error:
            if launch.rank > 0:
                print_text(f"metaexp: {error}", file=stderr)
            raise
        try:
            yield group
            with suppress(PeerError):
                group.barrier()  # torchrun stops the others once one has ended with an error
                group.close()
        except BaseException as error:
            group.leave(error, stderr)
            raise
        finally:
            with suppress(RuntimeError):
                dist.destroy_process_group()


def _meet(launch: Launch, warnings: KeptWarnings) -> Group:
    try:
        dist.init_process_group("gloo", timeout=_START_TIMEOUT)
        return Group(launch, warnings)
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise MachineError(
            f"rank {launch.rank} could not meet the other {launch.size - 1} at {where}: {_first_line(error)}. "
            "All ranks must be started with the same MASTER_ADDR and MASTER_PORT, as torchrun does."
        ) from error


@contextmanager
def _raise_peer_error() -> Iterator[None]:
    """Turn a lost connection inside this block into a PeerError."""
    try:
        yield
    except RuntimeError as error:
        raise PeerError(
            "another rank of this run has ended, or its machine cannot be reached, so the run cannot go on "
            f"({_first_line(error)}). What that rank or its launcher printed says why. Continue with "
            "resume=RUN_FOLDER, bit for bit with as many ranks."
        ) from error


def _error_message(error: Exception | None) -> tuple[str, int] | None:
    """The text and the exit code of an error."""
    if error is None:
        return None
    better = explained(error) or error
    text = str(better) if isinstance(better, MetaexpError) else f"{type(better).__name__}: {_first_line(better)}"
    return text, better.exit_code if isinstance(better, MetaexpError) else ExitCode.BUG


def _peer_error(text: str, exit_code: int) -> PeerError:
    error = PeerError(text)
    error.exit_code = exit_code
    return error


def _first_line(error: BaseException) -> str:
    """Its first line, without the place in torch's sources and without the advice to read logs."""
    return _SOURCE.sub("", first_line(error)).partition(". This is typically")[0].rstrip(".")


def _nothing() -> None:
    return None
