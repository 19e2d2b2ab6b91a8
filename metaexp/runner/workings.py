"""What trains and measures, made from the parts of a run: the same on every rank."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metaexp.config.schema import Settings
from metaexp.core.errors import ConfigError
from metaexp.data.base import Progress
from metaexp.machine.device import Compute, prepared
from metaexp.machine.ranks import Ranks
from metaexp.runner.batching import tasks_at_once
from metaexp.runner.build import Parts, algorithm_class, build
from metaexp.runner.checkpoint import Checkpoints
from metaexp.runner.evaluation import Evaluator
from metaexp.runner.state import TrainState
from metaexp.runner.step import MetaStep


class Workings(NamedTuple):
    """The state of a run, what changes it, and what measures it. step: None where nothing is to be trained."""

    state: TrainState
    step: MetaStep | None
    evaluator: Evaluator


@contextmanager
def started(settings: Settings, ranks: Ranks, progress: Progress) -> Iterator[tuple[Compute, Parts]]:
    """The device of this process, prepared for this block, and everything built on it.

    Raises as :func:`prepared` and :func:`build` do, on all ranks when one fails; ConfigError when there are too
    few tasks to share, MachineError when the ranks have other data.
    """
    made: list[tuple[Compute, Parts]] = []
    with ExitStack() as stack:

        def start() -> None:
            check_shares(settings, ranks.size)
            compute = stack.enter_context(prepared(settings.device, ranks.launch))
            made.append((compute, build(settings, compute, progress)))

        ranks.in_turn(start)
        ((compute, parts),) = made
        ranks.agree("the data", lambda: parts.dataset.digest)
        yield compute, parts


def check_shares(settings: Settings, n_ranks: int) -> None:
    """Raise ConfigError when a meta-update has too few tasks for every rank to have one."""
    tasks = settings.train.meta_batch_size
    if n_ranks == 1 or settings.train.steps == 0:
        return
    if algorithm_class(settings.algorithm).training_tasks == "supervised" and settings.task.n_way:
        raise ConfigError(
            f"{algorithm_class(settings.algorithm).__name__} trains on one batch of train.meta_batch_size={tasks} "
            f"examples per meta-update, and {n_ranks} ranks share tasks, not examples. Start it with one process."
        )
    if tasks < n_ranks:
        most = f"at most {tasks} processes" if tasks > 1 else "one process"
        raise ConfigError(
            f"train.meta_batch_size={tasks} gives {tasks} task{'s' if tasks > 1 else ''} per meta-update, which "
            f"{n_ranks} ranks cannot share. Start {most} (torchrun --nproc-per-node), or set "
            f"train.meta_batch_size={n_ranks} or more, which changes the numbers."
        )


def workings(settings: Settings, parts: Parts, compute: Compute, ranks: Ranks) -> Workings:
    """What this process trains and measures with."""
    chunk = tasks_at_once(settings.task.shape, parts.dataset.input_shape, compute)
    return Workings(
        TrainState(parts.algorithm, parts.optimizer),
        _meta_step(settings, parts, compute, ranks),
        Evaluator(parts.eval_source, settings.eval.seed, compute, chunk, ranks),
    )


def _meta_step(settings: Settings, parts: Parts, compute: Compute, ranks: Ranks) -> MetaStep | None:
    if parts.optimizer is None or settings.train.steps == 0:
        return None
    return MetaStep(
        parts.algorithm,
        parts.train_source,
        parts.optimizer,
        parts.schedule,
        parts.clip,
        compute,
        parts.tasks_per_step,
        settings.train.steps,
        settings.seed,
        ranks,
    )


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
