"""What trains and measures, made from the parts of a run: the same on every rank."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metaexp.machine.ranks import Ranks
from metaexp.run.checkpoint import Checkpoints
from metaexp.run.state import TrainState


def share_state(state: TrainState, ranks: Ranks) -> None:
    """Give every rank the state of the first, which may come from a checkpoint that only that one can read."""
    if ranks.size == 1:
        return
    tensors = state.tensors()
    forms = ranks.told(lambda: {name: [str(t.dtype), list(t.shape)] for name, t in tensors.items()})
    values: dict[str, Any] = ranks.told(state.values)
    received: dict[str, Tensor] = {}
    for name, (dtype, shape) in forms.items():
        if ranks.rank == 0:
            received[name] = tensors[name].detach().cpu().contiguous()
        else:
            received[name] = torch.empty(shape, dtype=getattr(torch, dtype.removeprefix("torch.")))
        ranks.copy_of_first(received[name])
    if ranks.rank > 0:
        state.restore(received, values)


class Agreed(Checkpoints):
    """Checkpoints of a run that ``ranks`` share: written by the first, when all have the same state.

    folder: None on the other ranks, which write nothing.
    """

    def __init__(self, folder: Path | None, ranks: Ranks) -> None:
        super().__init__(folder or Path())
        self._writes = folder is not None
        self._ranks = ranks

    def save(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """As :meth:`Checkpoints.save`. Raises MachineError when the ranks have trained apart."""
        self._ranks.agree(f"the state after {step} meta-updates", lambda: _digest(tensors))
        if self._writes:
            super().save(step, tensors, values)

    def steps(self) -> list[int]:
        """As :meth:`Checkpoints.steps`; none where nothing is written."""
        return super().steps() if self._writes else []


def _digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 (hex) over names and values."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
