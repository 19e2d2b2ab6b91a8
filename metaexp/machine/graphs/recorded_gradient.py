"""Computes the gradient of a training step by a recorded CUDA graph, where the device and the algorithm allow it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from metaexp.core.algorithm import Algorithm
from metaexp.core.counted import counted
from metaexp.machine.all_reduce import Partial
from metaexp.machine.device import Compute
from metaexp.machine.graphs.cuda_graph import NotRecordableError, RecordedWork
from metaexp.machine.single_rank import Ranks

log = logging.getLogger(__name__)

Gradient = Callable[[Tensor], Partial]
"""Adds the gradient over the tasks at indices (T_r,) to ``.grad``."""

_NOT_RECORDED = "training steps are not recorded as a CUDA graph: %s"
_MOST_LEVELS = 20
"""How deep containers are looked into."""
_OF_EVERY_MODULE = frozenset(vars(nn.Module())) - {"training"}


class _Recording(NamedTuple):
    """A recorded gradient, its inputs, and the progress that it was recorded at."""

    work: RecordedWork[tuple[Partial, list[Tensor | None]]]
    indices: Tensor
    progress: object


class RecordedGradient:
    """A gradient that is recorded once and replayed from then on, with the same bits.

    Where an algorithm anneals something, it is recorded again after each change that lasts for more than one step. A
    step that cannot be recorded is computed as before; the run's log says why.

    Args:
        gradient: Computes it. The indices, and what ``progress`` tells, are all that differs between two calls.
        algorithm: Its parameters get a ``.grad``.
        device: A CUDA device.
    """

    def __init__(self, gradient: Gradient, algorithm: Algorithm, device: torch.device) -> None:
        self._gradient = gradient
        self._algorithm = algorithm
        self._parameters: Sequence[nn.Parameter] = [p for p in algorithm.parameters() if p.requires_grad]
        self._device = device
        self._recording: _Recording | None = None
        self._before = progress_of(algorithm)
        self.reason: str | None = None
        """Why steps are not recorded; None where they are."""

    def __call__(self, indices: Tensor) -> Partial:
        """Compute the gradient over the tasks at ``indices`` (T_r,) into ``.grad``, replacing what was there."""
        progress = progress_of(self._algorithm)
        lasts, self._before = progress == self._before, progress
        if self.reason is None and lasts and (self._recording is None or self._recording.progress != progress):
            self._record(indices, progress)
        if self._recording is None or self._recording.progress != progress:
            return self._gradient_into_grad(indices)[0]
        self._recording.indices.copy_(indices)
        partial, gradients = self._recording.work.replay()
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        return Partial(partial.losses.clone(), partial.new_buffers)  # the losses of many steps are kept unread

    def _record(self, indices: Tensor, progress: object) -> None:
        inputs = indices.clone()
        again = self._recording is not None
        self._recording = None  # frees the memory of the graph before
        try:
            with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
                work = RecordedWork(lambda: self._gradient_into_grad(inputs), self._device)
        except NotRecordableError as error:
            self.reason = str(error)
            log.info(_NOT_RECORDED, error)
            return
        self._recording = _Recording(work, inputs, progress)
        if not again:
            log.info("training steps are replayed from a CUDA graph")

    def _gradient_into_grad(self, indices: Tensor) -> tuple[Partial, list[Tensor | None]]:
        for parameter in self._parameters:
            parameter.grad = None
        partial = self._gradient(indices)
        return partial, [parameter.grad for parameter in self._parameters]


def is_recordable(algorithm: Algorithm, compute: Compute, ranks: Ranks, *, varies: bool = False) -> bool:
    """Whether to try to record: on one CUDA device, tasks of one shape, and where all that changes can be seen.

    The run's log says why not, unless the settings or the device do not want it.

    Args:
        algorithm: The algorithm that is trained.
        compute: The device, and whether the settings want CUDA graphs.
        ranks: The ranks of the run.
        varies: Whether the training tasks have several shapes.
    """
    if compute.device.type != "cuda" or not compute.cuda_graphs:
        return False
    reason = _why_not(algorithm, ranks, varies=varies)
    if reason is not None:
        log.info(_NOT_RECORDED, reason)
    return reason is None


def _why_not(algorithm: Algorithm, ranks: Ranks, *, varies: bool) -> str | None:
    """Why steps on a CUDA device are not recorded; None if that is to be tried."""
    if ranks.size > 1:
        return f"{counted(ranks.size, 'rank')} exchange gradients in each step"
    if varies:
        return "tasks have several shapes, and a graph repeats operations on one"
    try:
        progress_of(algorithm)
    except TypeError as error:
        return str(error)
    return None


def progress_of(algorithm: Algorithm) -> object:
    """The attributes of an algorithm and its modules that ``set_progress`` may have changed, to compare.

    Args:
        algorithm: One that does not override ``set_progress`` never changes.

    Raises:
        TypeError: An attribute is neither plain nor a tensor or a module, so that a change in it would not be seen.
    """
    if type(algorithm).set_progress is Algorithm.set_progress:
        return None
    return [
        (path, name, _comparable(value, f"{path or type(algorithm).__name__}.{name}"))
        for path, module in algorithm.named_modules()
        for name, value in vars(module).items()
        if name not in _OF_EVERY_MODULE
    ]


def _comparable(value: Any, where: str, inside: tuple[int, ...] = ()) -> object:
    """``value`` as it is now, in a form that compares by value; a tensor of a GPU by the memory that a graph reads."""
    if value is None or isinstance(value, (bool, int, float, str, frozenset, torch.Size)) or callable(value):
        return value
    if isinstance(value, Tensor):
        return value.tolist() if value.is_cpu else (value.data_ptr(), tuple(value.shape))
    if isinstance(value, (tuple, list, dict)) and id(value) not in inside and len(inside) < _MOST_LEVELS:
        inside = (*inside, id(value))
        if isinstance(value, dict):
            return [(key, _comparable(item, where, inside)) for key, item in value.items()]
        return [_comparable(item, where, inside) for item in value]
    raise TypeError(f"{where} is a {type(value).__name__}, and set_progress may change it unseen")
