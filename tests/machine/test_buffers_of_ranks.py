"""A buffer that any rank writes to in place has the values of rank 0 on every rank."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread

import pytest
import torch
from torch import Tensor, nn

from metaexp.machine.all_reduce import Exchange, Partial
from metaexp.machine.single_rank import Ranks

DTYPES = (torch.float32, torch.int64, torch.bool, torch.bfloat16)


class Table:
    """Where the threads of two ranks put what they exchange."""

    def __init__(self) -> None:
        self.parts: dict[int, Tensor] = {}
        self.sent: list[int] = []
        self.barrier = Barrier(2, timeout=60)


class Together(Ranks):
    """One of two ranks, each a thread."""

    def __init__(self, rank: int, table: Table) -> None:
        self.rank, self.size, self.table = rank, 2, table

    def _exchange(self, own: Tensor) -> list[Tensor]:
        self.table.parts[self.rank] = own.clone()
        self.table.barrier.wait()
        found = [self.table.parts[0], self.table.parts[1]]
        self.table.barrier.wait()
        return found

    def all_reduce(self, tensor: Tensor, flags: Tensor) -> Tensor:
        tensor.copy_(sum(self._exchange(tensor), torch.zeros_like(tensor)))
        return sum(self._exchange(flags), torch.zeros_like(flags))

    def broadcast_tensor(self, tensor: Tensor) -> None:
        if self.rank == 0:
            self.table.sent.append(tensor.numel())
        tensor.copy_(self._exchange(tensor)[0])


def buffers() -> dict[str, Tensor]:
    """One of each dtype, one that is not contiguous, and a cache that may differ."""
    found = {str(dtype): torch.zeros(3, dtype=dtype) for dtype in DTYPES}
    return {**found, "turned": torch.zeros(2, 3).T, "cache": torch.zeros(4)}


def exchanged(write: Callable[[int, dict[str, Tensor]], None]) -> tuple[list[dict[str, Tensor]], Table]:
    """The buffers of both ranks after a step in which each calls ``write``, and what was sent."""
    table, own = Table(), [buffers(), buffers()]
    threads = [Thread(target=_step, args=(rank, table, own[rank], write)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return own, table


def _step(rank: int, table: Table, own: dict[str, Tensor], write: Callable[[int, dict[str, Tensor]], None]) -> None:
    weight = nn.Parameter(torch.zeros(1))

    def work() -> Partial:
        weight.grad = torch.ones(1)
        write(rank, own)
        return Partial(torch.ones(1), {})

    Exchange(Together(rank, table), [weight], own, 2, own.keys() - {"cache"}).reduce(work)


@pytest.mark.parametrize("writers", [(0, 1), (0,), (1,)])
def test_every_rank_gets_what_the_first_one_has(writers: tuple[int, ...]) -> None:
    def write(rank: int, own: dict[str, Tensor]) -> None:
        if rank in writers:
            for tensor in own.values():
                tensor += torch.ones_like(tensor) * (rank == 0)  # the other one writes and changes nothing

    (first, second), table = exchanged(write)
    for name in first.keys() - {"cache"}:
        assert first[name].any() == (0 in writers), name
        assert torch.equal(first[name], second[name]), name
    assert torch.equal(first["cache"], second["cache"]) == (0 not in writers)
    assert sorted(table.sent) == [3, 3, 3, 3, 6]


def test_nothing_is_sent_where_nobody_writes() -> None:
    (first, second), table = exchanged(lambda rank, own: None)
    assert table.sent == []
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_another_rank_wrote_alone_is_lost() -> None:
    def write(rank: int, own: dict[str, Tensor]) -> None:
        if rank == 1:
            own["turned"].fill_(1)

    (first, second), table = exchanged(write)
    assert not first["turned"].any()
    assert not second["turned"].any()
    assert table.sent == [6]
