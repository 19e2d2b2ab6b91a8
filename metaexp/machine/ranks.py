"""Processes that share one run: the only module that knows torch.distributed.

Every rank goes through the same statements in the same order; what differs is which tasks it computes. The first
rank alone writes and speaks. Whatever can differ between ranks (an error, a signal) is exchanged before any of them
acts on it, so none waits for another that has left. Plain values travel as JSON, through gloo.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from metaexp.core.errors import MachineError, MetaexpError
from metaexp.machine.failures import explained
from metaexp.machine.launch import Launch
from metaexp.machine.signals import SharedStopRequest, StopRequest

_SOURCE = re.compile(r"^\[[^\]]*\.\w+:\d+\] ")
_MEETING = timedelta(minutes=10)
"""How long ranks wait for one another to start."""
_ENDING = 10.0
"""Seconds for the first rank to write down and say how the run ended."""
_PATIENCE = timedelta(hours=2)
"""How long a rank waits for a living one, which may be downloading a dataset. One that dies is noticed at once."""


class PeerError(MetaexpError):
    """Another rank ended, or failed. ``exit_code`` is that rank's where it is known, else that of the machine."""

    exit_code: int = MachineError.exit_code


class Ranks:
    """The processes of a run: here, this one alone. Nothing is exchanged, so nothing is paid for."""

    rank = 0
    size = 1
    launch: Launch | None = None

    def order(self, value: Any) -> Any:
        """What the first rank orders the others to do, on every rank. It comes first."""
        return value

    def own(self, total: int) -> range:
        """This rank's share of 0 ... total - 1: consecutive, and at most one longer than another's."""
        return range(self.rank * total // self.size, (self.rank + 1) * total // self.size)

    def together(self, work: Callable[[], Any]) -> list[Any]:
        """Do ``work`` on every rank, and return all results, which JSON can hold, by rank.

        Raises what it raised here; where it failed on other ranks only, PeerError with what those said.
        """
        return [work()]

    def in_turn(self, work: Callable[[], None]) -> None:
        """Do ``work`` on the first rank of each machine, then on the others, which find files where it left them."""
        work()

    def told(self, work: Callable[[], Any]) -> Any:
        """What ``work``, done by the first rank alone, returned: on every rank."""
        return work()

    def agree(self, what: str, work: Callable[[], str]) -> None:
        """Raise MachineError when ``work`` returns different text on different ranks."""

    def stop_request(self) -> StopRequest:
        """What a handler of signals is to tell of a signal. All ranks heed it at the same place."""
        return StopRequest()

    def add_up(self, tensor: Tensor, flags: Tensor) -> Tensor:
        """Add up ``tensor`` (L,) over ranks in place; returns the sum of ``flags`` (F,), which are on the CPU.

        The last F places of ``tensor`` are for the flags. The first ``size`` flags tell which ranks failed; where one
        did, ``tensor`` may be left as it is.
        """
        return flags

    def copy_of_first(self, tensor: Tensor) -> None:
        """Give ``tensor``, on the CPU, the values that it has on the first rank."""

    @property
    def signal_number(self) -> int:
        """The signal received here that the other ranks do not know of yet; 0 without one."""
        return 0

    def heed(self, number: int) -> None:
        """Stop for signal ``number``, which every rank knows of now; 0 is none."""


ALONE = Ranks()


class Group(Ranks):
    """Several processes, through torch.distributed."""

    def __init__(self, launch: Launch) -> None:
        self.launch: Launch = launch
        self.rank, self.size = launch.rank, launch.size
        self.has_order = False
        self.knows_failure = False
        """Whether every rank, so the first one too, knows what failed."""
        self._stop = SharedStopRequest()
        self._first_process: int | None = None
        self._on_host = dist.new_group(backend="gloo", timeout=_PATIENCE)
        self._on_device: dist.ProcessGroup | None = None

    def together(self, work: Callable[[], Any]) -> list[Any]:
        value, error = None, None
        try:
            value = work()
        except Exception as raised:
            error = raised
        outcomes = self._gather({"value": value, "error": _say(error), "signal": self.signal_number})
        failed = [(rank, outcome["error"]) for rank, outcome in enumerate(outcomes) if outcome["error"] is not None]
        if failed:
            self.knows_failure = True
            if error is not None:
                raise error
            rank, (text, code) = failed[0]
            raise _peer_error(f"rank {rank} of {self.size} failed: {text}", code)
        self.heed(max(outcome["signal"] for outcome in outcomes))
        return [outcome["value"] for outcome in outcomes]

    def in_turn(self, work: Callable[[], None]) -> None:
        is_first_here = self.launch.local_rank == 0
        self.together(work if is_first_here else _nothing)
        self.together(_nothing if is_first_here else work)

    def told(self, work: Callable[[], Any]) -> Any:
        return self.together(work if self.rank == 0 else _nothing)[0]

    def agree(self, what: str, work: Callable[[], str]) -> None:
        answers = self.together(work)
        others = [rank for rank, answer in enumerate(answers) if answer != answers[0]]
        if others:
            self.knows_failure = True
            raise MachineError(
                f"{what} of rank {others[0]} ({answers[others[0]][:12]}) is not that of rank 0 ({answers[0][:12]}), so "
                "the ranks would train apart. All machines must have the same data, processors or GPUs of one kind, "
                "and the same versions."
            )

    def stop_request(self) -> StopRequest:
        return self._stop

    def add_up(self, tensor: Tensor, flags: Tensor) -> Tensor:
        with _noticing():
            if tensor.device.type == "cpu":
                tensor[-len(flags) :] = flags
                dist.all_reduce(tensor, group=self._on_host)
                return tensor[-len(flags) :]
            # Through gloo, which notices a rank that has died and does not wait for the device.
            dist.all_reduce(flags, group=self._on_host)
            if not flags[: self.size].any():
                dist.all_reduce(tensor, group=self._group_on_device())
            return flags

    def copy_of_first(self, tensor: Tensor) -> None:
        with _noticing():
            dist.broadcast(tensor, src=0, group=self._on_host)

    @property
    def signal_number(self) -> int:
        return self._stop.pending or 0

    def heed(self, number: int) -> None:
        if number:
            self._stop.heed(number)

    def order(self, value: Any) -> Any:
        self.has_order = True
        told, self._first_process = self.told(lambda: [value, os.getpid()])
        return told

    def let_first_end(self) -> None:
        """Wait until the process of the first rank has ended: torchrun stops all others once one has failed."""
        if self._first_process is None or self.rank >= self.launch.local_size:  # on another machine
            return
        until = time.monotonic() + _ENDING
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

    def _gather(self, value: Any) -> list[Any]:
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        with _noticing():
            dist.all_gather(lengths, torch.tensor([len(text)]), group=self._on_host)
            longest = max(int(length) for length in lengths)
            texts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
            padded = torch.zeros(longest, dtype=torch.uint8)
            padded[: len(text)] = text
            dist.all_gather(texts, padded, group=self._on_host)
        pairs = zip(texts, lengths, strict=True)
        return [json.loads(bytes(text[: int(length)].tolist())) for text, length in pairs]


@contextmanager
def joined(launch: Launch) -> Iterator[Group]:
    """Meet the other ranks. Where the first one leaves without having given an order, it sends them home."""
    try:
        dist.init_process_group("gloo", timeout=_MEETING)
        group = Group(launch)
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise MachineError(
            f"rank {launch.rank} could not meet the other {launch.size - 1} at {where}: {_first_line(error)}. "
            "All ranks must be started with the same MASTER_ADDR and MASTER_PORT, as torchrun does."
        ) from error
    code = 1
    try:
        yield group
        code = 0
    except MetaexpError as error:
        code = error.exit_code
        raise
    finally:
        if launch.rank == 0 and not group.has_order:
            with suppress(PeerError):
                group.order({"leave": code})
        with suppress(RuntimeError):
            dist.destroy_process_group()


@contextmanager
def _noticing() -> Iterator[None]:
    """A lost connection leaves this block as PeerError."""
    try:
        yield
    except RuntimeError as error:
        raise PeerError(
            "another rank of this run has ended, or its machine cannot be reached, so the run cannot go on "
            f"({_first_line(error)}). What that rank or its launcher printed says why. Continue with "
            "resume=RUN_FOLDER, bit for bit with as many ranks."
        ) from error


def _say(error: Exception | None) -> tuple[str, int] | None:
    """An error in words, and the exit code that it stands for."""
    if error is None:
        return None
    better = explained(error) or error
    text = str(better) if isinstance(better, MetaexpError) else f"{type(better).__name__}: {_first_line(better)}"
    return text, better.exit_code if isinstance(better, MetaexpError) else 1


def _peer_error(text: str, exit_code: int) -> PeerError:
    error = PeerError(text)
    error.exit_code = exit_code
    return error


def _first_line(error: BaseException) -> str:
    """Its first line, without the place in torch's sources and without the advice to read logs."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return _SOURCE.sub("", line).partition(". This is typically")[0].rstrip(".")


def _nothing() -> None:
    return None
