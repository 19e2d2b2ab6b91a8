"""Sums what the ranks computed in a step, so that every rank has the whole, with one all-reduce.

Gradients, new buffers and losses of the rank's own tasks go into one flat buffer. Each is already divided by the
number of all tasks, so the sum over ranks is the mean over tasks, even when ranks have different numbers of tasks.
Behind them are flags: which rank failed, which received a signal, which gradients and new buffers it has, and which
buffers it wrote to in place. These have no mean that is right for all: a counter, a moving mean and a table are each
changed in their own way. So the values of rank 0 go to all ranks, as torch's DistributedDataParallel does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from metaexp.core.counted import agreeing, counted
from metaexp.machine.single_rank import Ranks


class Partial(NamedTuple):
    """What a rank computed from its own tasks, beside gradients.

    Attributes:
        losses: (T_r,), one loss for each task of this rank.
        new_buffers: For each replaced buffer, the sum of its new values over those tasks divided by T, the number of
            all tasks.
    """

    losses: Tensor
    new_buffers: dict[str, Tensor]


Work = Callable[[], Partial]
"""Adds the gradient of the rank's own tasks to ``.grad``."""


def no_reduce(work: Work) -> Partial:
    """Run ``work`` in a run of one process, where the part is the whole."""
    return work()


class Exchange:
    """Sums the parts of all ranks.

    Args:
        ranks: The ranks of the run.
        parameters: Their ``.grad`` is summed.
        buffers: Those that tasks may replace. Whole numbers (counters) are equal for all tasks and are not sent.
        tasks: T, the number of all tasks of a step.
        lasting: The names of the buffers in which ranks must agree; None for all. Caches are not among them.
    """

    def __init__(
        self,
        ranks: Ranks,
        parameters: Sequence[nn.Parameter],
        buffers: Mapping[str, Tensor],
        tasks: int,
        lasting: Collection[str] | None = None,
    ) -> None:
        self.ranks = ranks
        self.parameters = list(parameters)
        kept = buffers.keys() if lasting is None else lasting
        self._in_place = [t for name, t in buffers.items() if name in kept and t.layout == torch.strided]
        self.names = [name for name, t in buffers.items() if t.is_floating_point()]
        parts = [*self.parameters, *(buffers[name] for name in self.names)]
        self._n_flags = 2 * ranks.size + len(parts) + len(self._in_place)
        self._sizes = [*(p.numel() for p in parts), tasks, self._n_flags]
        self._shapes = [p.shape for p in parts]
        wide = any(p.dtype == torch.float64 for p in parts)
        self._flat = torch.zeros(
            sum(self._sizes), dtype=torch.float64 if wide else torch.float32, device=self.parameters[0].device
        )

    def reduce(self, work: Work) -> Partial:
        """Run ``work`` on every rank and sum the parts. ``.grad`` is then the gradient over all tasks.

        A buffer that ``work`` wrote to in place, on any rank, has the values of rank 0 afterwards.

        Args:
            work: Computes this rank's part.

        Returns:
            Losses (T,) of all tasks, and the means of the new buffers.

        Raises:
            Exception: What ``work`` raised, here or on another rank; every rank raises.
            RuntimeError: The ranks have gradients or new values for different parameters or buffers.
        """
        partial, error = None, None
        before = [_version(tensor) for tensor in self._in_place]
        try:
            partial = work()
        except Exception as raised:
            error = raised
        written = [_version(tensor) != version for tensor, version in zip(self._in_place, before, strict=True)]
        flags = self.ranks.all_reduce(self._flat, self._pack(partial, written))
        size = self.ranks.size
        if flags[:size].any():
            self._fail(error)
        assert partial is not None
        self.ranks.stop_for(int(flags[size : 2 * size].max()))
        counts = flags[2 * size :].tolist()
        of_parts, of_written = counts[: len(self._shapes)], counts[len(self._shapes) :]
        self._check_alike(of_parts)
        reduced = self._unpack(partial)
        self._send_of_first([tensor for tensor, count in zip(self._in_place, of_written, strict=True) if count])
        return reduced

    def _send_of_first(self, tensors: Sequence[Tensor]) -> None:
        """Give ``tensors`` the values that they have on rank 0."""
        with torch.no_grad():
            for tensor in tensors:
                values = tensor.detach().cpu().contiguous()
                self.ranks.broadcast_tensor(values)
                tensor.copy_(values)

    def _pack(self, partial: Partial | None, written: Sequence[bool]) -> Tensor:
        """Fill the flat buffer; returns the flags (F,)."""
        self._flat.zero_()
        flags = torch.zeros(self._n_flags, dtype=self._flat.dtype)
        rank, size = self.ranks.rank, self.ranks.size
        flags[rank] = partial is None
        flags[size + rank] = self.ranks.pending_signal
        if partial is None:
            return flags
        pieces = torch.split(self._flat, self._sizes)
        for index, value in enumerate(self._own_values(partial)):
            if value is not None:
                pieces[index].copy_(value.reshape(-1))  # (numel,)
                flags[2 * size + index] = 1
        flags[self._n_flags - len(written) :] = torch.tensor(written, dtype=flags.dtype)
        share = self.ranks.share(len(pieces[-2]))
        pieces[-2][share.start : share.stop] = partial.losses
        return flags

    def _own_values(self, partial: Partial) -> list[Tensor | None]:
        return [*(p.grad for p in self.parameters), *(partial.new_buffers.get(name) for name in self.names)]

    def _unpack(self, partial: Partial) -> Partial:
        pieces = torch.split(self._flat, self._sizes)
        for value, piece, shape in zip(self._own_values(partial), pieces, self._shapes, strict=False):
            if value is not None:
                value.copy_(piece.view(shape))
        return Partial(pieces[-2].to(partial.losses.dtype, copy=True), partial.new_buffers)

    def _fail(self, error: Exception | None) -> None:
        """Raise on every rank what one of them raised, as :meth:`Ranks.gather` does."""

        def raise_error() -> None:
            if error is not None:
                raise error

        self.ranks.run(raise_error)

    def _check_alike(self, counts: Sequence[float]) -> None:
        for index, count in enumerate(counts):
            if count not in (0, self.ranks.size):
                what = "a parameter" if index < len(self.parameters) else self.names[index - len(self.parameters)]
                raise RuntimeError(
                    f"{count:.0f} of {counted(self.ranks.size, 'rank')} {agreeing(count, 'has')} a gradient or a new "
                    f"value for {what} of shape "
                    f"{tuple(self._shapes[index])}. Which parameters a step reaches must not depend on the tasks."
                )


def _version(tensor: Tensor) -> int:
    """How often ``tensor`` was written to; nothing is read from its device."""
    return 0 if tensor.is_inference() else tensor._version
