"""Sends the state of a run from rank 0 to the others at the start, and compares it at every checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from metaexp.core.counted import counted, listed
from metaexp.core.errors import MachineError
from metaexp.machine.single_rank import Ranks
from metaexp.models.base import not_persistent
from metaexp.run.checkpoint import Checkpoints
from metaexp.run.state import TrainState


def share_state(state: TrainState, ranks: Ranks) -> None:
    """Give every rank the state of rank 0, which may come from a checkpoint that only rank 0 can read.

    Args:
        state: Sent on rank 0, replaced on the others.
        ranks: The ranks of the run.
    """
    if ranks.size == 1:
        return
    tensors = state.tensors()
    forms = ranks.broadcast(lambda: {name: [str(t.dtype), list(t.shape)] for name, t in tensors.items()})
    values: dict[str, Any] = ranks.broadcast(state.values)
    received: dict[str, Tensor] = {}
    for name, (dtype, shape) in forms.items():
        if ranks.rank == 0:
            received[name] = tensors[name].detach().cpu().contiguous()
        else:
            received[name] = torch.empty(shape, dtype=getattr(torch, dtype.removeprefix("torch.")))
        ranks.broadcast_tensor(received[name])
    if ranks.rank > 0:
        state.restore(received, values)


class SharedCheckpoints(Checkpoints):
    """Checkpoints of a run on several ranks, saved once all ranks have the same state.

    Args:
        own: What this rank saves: real checkpoints on rank 0, nothing on the others.
        ranks: The ranks of the run.
        algorithm: What is trained. Its buffers of ``persistent=False`` may differ: each rank makes them for its tasks.
    """

    def __init__(self, own: Checkpoints, ranks: Ranks, algorithm: nn.Module) -> None:
        super().__init__(own.folder, own.keep)
        self._own = own
        self._ranks = ranks
        self._caches = _of_weights(not_persistent(algorithm))
        self._buffers = _of_weights(dict(algorithm.named_buffers()))

    def save(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Save as :meth:`Checkpoints.save` does, if all ranks are in the same state.

        Args:
            step: How many steps were made.
            tensors: Name -> tensor.
            values: Values that JSON can hold.

        Raises:
            MachineError: The ranks have different weights or optimizer states.
        """
        compared = {name: t for name, t in tensors.items() if name not in self._caches}
        try:
            self._ranks.require_equal(f"the state after {counted(step, 'step')}", lambda: _digest(compared))
        except MachineError as error:
            raise MachineError(f"{error} {self._what_differs(compared)}") from None
        self._own.save(step, tensors, values)

    def _what_differs(self, tensors: dict[str, Tensor]) -> str:
        """Name the tensors that differ between ranks, once it is known on all that some do."""
        found = self._ranks.gather(lambda: {name: _digest({name: t}) for name, t in tensors.items()})
        names = [name for name in sorted(tensors) if any(own.get(name) != found[0].get(name) for own in found)]
        shown = sorted({name.removeprefix("best/").removeprefix("weights/") for name in names})
        text = f"They differ in {listed(shown, 3)}."
        if names and set(names) <= self._buffers:
            text += (
                " Code of your own that writes to a buffer must not do so through .data: what it writes is not seen, "
                "and not sent to the other ranks (self.average.lerp_(x, 0.1), not self.average.data.lerp_(x, 0.1))."
            )
        return text

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, as :meth:`Checkpoints.steps` does."""
        return self._own.steps()


class NoCheckpoints(Checkpoints):
    """Saves nothing: rank 0 does."""

    def save(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Do nothing."""

    def steps(self) -> list[int]:
        """Return no step."""
        return []


def _of_weights(names: Iterable[str]) -> frozenset[str]:
    """The names that these parameters or buffers have in a checkpoint."""
    return frozenset(f"{part}/{name}" for name in names for part in ("weights", "best"))


def _digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 (hex) over names and values."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
