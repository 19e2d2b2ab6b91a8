"""From each rank's share of a meta-update to the whole, on every rank: one all-reduce.

Gradients, replaced buffers and losses of the rank's own tasks go into one flat buffer, each already divided by the
number of all tasks, so that the sum over ranks is the mean over tasks however unequal the shares are. Behind them are
flags: which rank failed, which received a signal, and which gradients and buffers it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from metaexp.machine.ranks import Ranks


class Share(NamedTuple):
    """What a rank's own tasks gave beside gradients: losses (T_r,), and for each replaced buffer the sum of its new
    values over those tasks, divided by the number T of all tasks."""

    losses: Tensor
    moved: dict[str, Tensor]


Work = Callable[[], Share]
"""Adds the gradient of the rank's own tasks to ``.grad``."""


def alone(work: Work) -> Share:
    """The exchange of a run in one process: its share is the whole."""
    return work()


class Exchange:
    """Turns shares into the whole.

    parameters: whose ``.grad`` is exchanged. buffers: that tasks may replace; whole numbers (counters) agree between
    tasks and stay at home. tasks: T.
    """

    def __init__(
        self, ranks: Ranks, parameters: Sequence[nn.Parameter], buffers: Mapping[str, Tensor], tasks: int
    ) -> None:
        self.ranks = ranks
        self.parameters = list(parameters)
        self.names = [name for name, t in buffers.items() if t.is_floating_point()]
        parts = [*self.parameters, *(buffers[name] for name in self.names)]
        self._n_flags = 2 * ranks.size + len(parts)
        self._sizes = [*(p.numel() for p in parts), tasks, self._n_flags]
        self._shapes = [p.shape for p in parts]
        wide = any(p.dtype == torch.float64 for p in parts)
        self._flat = torch.zeros(
            sum(self._sizes), dtype=torch.float64 if wide else torch.float32, device=self.parameters[0].device
        )

    def whole(self, work: Work) -> Share:
        """Do ``work``, and return the share of all ranks together: losses (T,), means of buffers, ``.grad`` likewise.

        Raises what ``work`` raised, here or on another rank, on all ranks; RuntimeError when the ranks have
        gradients or new values for different parameters or buffers.
        """
        share, error = None, None
        try:
            share = work()
        except Exception as raised:
            error = raised
        flags = self.ranks.add_up(self._flat, self._pack(share))
        size = self.ranks.size
        if flags[:size].any():
            self._fail(error)
        assert share is not None
        self.ranks.heed(int(flags[size : 2 * size].max()))
        self._check_alike(flags[2 * size :].tolist())
        return self._unpack(share)

    def _pack(self, share: Share | None) -> Tensor:
        """Fill the flat buffer; returns the flags (F,)."""
        self._flat.zero_()
        flags = torch.zeros(self._n_flags, dtype=self._flat.dtype)
        rank, size = self.ranks.rank, self.ranks.size
        flags[rank] = share is None
        flags[size + rank] = self.ranks.signal_number
        if share is None:
            return flags
        own = self._own_values(share)
        pieces = torch.split(self._flat, self._sizes)
        for index, value in enumerate(own):
            if value is not None:
                pieces[index].copy_(value.reshape(-1))  # (numel,)
                flags[2 * size + index] = 1
        mine = self.ranks.own(len(pieces[-2]))
        pieces[-2][mine.start : mine.stop] = share.losses
        return flags

    def _own_values(self, share: Share) -> list[Tensor | None]:
        return [*(p.grad for p in self.parameters), *(share.moved.get(name) for name in self.names)]

    def _unpack(self, share: Share) -> Share:
        pieces = torch.split(self._flat, self._sizes)
        own = self._own_values(share)
        for value, piece, shape in zip(own, pieces, self._shapes, strict=False):
            if value is not None:
                value.copy_(piece.view(shape))
        return Share(pieces[-2].to(share.losses.dtype, copy=True), share.moved)

    def _fail(self, error: Exception | None) -> None:
        """Tell every rank what failed: raises here what :meth:`Ranks.together` does."""

        def say() -> None:
            if error is not None:
                raise error

        self.ranks.together(say)

    def _check_alike(self, counts: Sequence[float]) -> None:
        for index, count in enumerate(counts):
            if count not in (0, self.ranks.size):
                what = "a parameter" if index < len(self.parameters) else self.names[index - len(self.parameters)]
                raise RuntimeError(
                    f"{count:.0f} of {self.ranks.size} ranks have a gradient or a new value for {what} of shape "
                    f"{tuple(self._shapes[index])}. What a meta-update reaches must not depend on the tasks."
                )
