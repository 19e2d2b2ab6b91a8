"""Finds what an algorithm leaves behind after a task, so that the next task would find it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import torch
from torch import Tensor

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.types import Episode
from metaexp.machine.single_rank import Ranks
from metaexp.models.library_noise import numpy_and_python_states

log = logging.getLogger(__name__)

_ROUNDING: Final = 1e-3
"""Of the largest prediction. A GPU may add in another order."""


class _Mark(NamedTuple):
    """What a tensor was: another one, other memory, or written to, if this changes."""

    identity: int
    memory: int
    version: int
    is_trained: bool

    @classmethod
    def of(cls, tensor: Tensor) -> _Mark:
        """Mark ``tensor``; nothing is read from its device."""
        version = 0 if tensor.is_inference() else tensor._version
        memory = tensor.data_ptr() if tensor.layout == torch.strided else 0  # a sparse one has several memories
        return cls(id(tensor), memory, version, tensor.requires_grad)


class Traces:
    """What tasks must leave as they find it: weights, examples, the mode of layers, and torch's default dtype.

    Only marks are compared, so that it costs no copy and no wait for the device.

    Args:
        algorithm: The algorithm.
        episodes: Tasks, before they are computed.
    """

    def __init__(self, algorithm: Algorithm, episodes: Episode) -> None:
        self._algorithm = algorithm
        support, query = episodes  # these may share their memory, and then count together how often it was written to
        self._tasks = {"the inputs of tasks": (support.x, query.x), "the labels of tasks": (support.y, query.y)}
        self._before = self._marks()
        self._noise = numpy_and_python_states() if algorithm.training else {}

    def check(self, what: str) -> None:
        """Check that nothing has changed, and warn of numbers drawn in training that the run does not seed.

        Args:
            what: The kind of task, for the message.

        Raises:
            ConfigError: Something has.
        """
        now = self._marks()
        changed = sorted(name for name, mark in self._before.items() if now.get(name) != mark)
        if changed:
            raise ConfigError(
                f"{type(self._algorithm).__name__} changes {', '.join(changed[:3])} while it computes {what}; what is "
                "computed later would start from that. Let adapt, predict and meta_loss make new tensors "
                "(x = x - mean, not x -= mean), and leave weights and modes as they are."
            )
        later = numpy_and_python_states() if self._noise else {}
        drawn = [library for library, state in self._noise.items() if later[library] != state]
        if drawn:  # in training; in tests it is found by what they give
            log.warning(
                "%s draws random numbers of %s while it computes %s, which the run does not seed: it cannot be "
                "repeated. Draw them from torch's own generator, which is seeded in each step.",
                type(self._algorithm).__name__, " and ".join(drawn), what,
            )  # fmt: skip

    def _marks(self) -> dict[str, object]:
        return {
            **{name: _Mark.of(p) for name, p in self._algorithm.named_parameters()},
            # In training a network may collect statistics; checkpoints hold them.
            **({} if self._algorithm.training else {n: _Mark.of(t) for n, t in self._algorithm.named_buffers()}),
            **{name: [_Mark.of(tensor) for tensor in tensors] for name, tensors in self._tasks.items()},
            **{f"{name or 'its'} training mode".lstrip("."): m.training for name, m in self._algorithm.named_modules()},
            "torch's default dtype": torch.get_default_dtype(),
        }


@contextmanager
def refuse_traces(algorithm: Algorithm, episodes: Episode, what: str) -> Iterator[None]:
    """Raise ConfigError where tasks that are computed in this block leave traces, see :class:`Traces`.

    Args:
        algorithm: The algorithm.
        episodes: The tasks.
        what: The kind of task, for the message.
    """
    traces = Traces(algorithm, episodes)
    yield
    traces.check(what)


class Repeats:
    """Checks once that a task has the same predictions before and after others.

    Args:
        ranks: The ranks, each of which computes the task.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._is_done = False

    @contextmanager
    def check(self, algorithm: Algorithm, predict: Callable[[], Tensor], what: str) -> Iterator[None]:
        """Compare the predictions before and after this block. It does nothing from the second time on.

        Args:
            algorithm: The algorithm, for the message.
            predict: Returns the predictions for the task, from the same seed each time.
            what: Which task, for the message.

        Raises:
            ConfigError: They differ by more than rounding.
        """
        before = None if self._is_done else self._ranks.run(predict)
        yield
        if before is not None:
            self._ranks.run(lambda: _compare(algorithm, before, predict(), what))
            self._is_done = True


def _compare(algorithm: Algorithm, first: Tensor, again: Tensor, what: str) -> None:
    """Raise ConfigError where predictions differ by more than rounding; equal values are, NaN and infinite, too."""
    if first.shape == again.shape:
        size = first[first.isfinite()].abs().max() if first.isfinite().any() else 0.0
        if torch.allclose(first, again, rtol=0.0, atol=float(_ROUNDING * size), equal_nan=True):
            return
    raise ConfigError(
        f"{type(algorithm).__name__} gives other predictions for {what} after other tasks than before them. It keeps "
        "something from one task to the next, or draws random numbers that the run does not seed (of numpy, of "
        "Python, of a generator of its own), so its numbers mean nothing. Make adapt and predict functions of one "
        "task; noise from torch's own generator is seeded. `metaexp check` says more."
    )
