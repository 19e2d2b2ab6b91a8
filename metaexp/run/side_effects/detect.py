"""Finds side effects of an algorithm: what one task changes, and the next would find changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import torch
from torch import Tensor

from metaexp.core.algorithm import Algorithm
from metaexp.core.counted import listed
from metaexp.core.errors import ConfigError
from metaexp.core.types import Episode
from metaexp.machine.single_rank import Ranks
from metaexp.models.base import not_persistent
from metaexp.models.library_noise import numpy_and_python_states
from metaexp.models.torch_settings import settings_now
from metaexp.run.side_effects.buffers import ADVICE
from metaexp.run.side_effects.untrained import warn_of_untrained

log = logging.getLogger(__name__)

_ROUNDING: Final = 1e-3
"""The difference that rounding may make, as a part of the largest prediction: a GPU may add in another order."""


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
        return cls(id(tensor), _memory(tensor), version, tensor.requires_grad)


def _memory(tensor: Tensor) -> int:
    if tensor.layout != torch.strided:
        return 0  # a sparse one has several memories
    try:
        return tensor.data_ptr()
    except RuntimeError:  # made inside an inner gradient
        return 0


class _Weight(NamedTuple):
    """A weight or buffer, its mark, and a copy of its values."""

    tensor: Tensor
    mark: _Mark
    values: Tensor

    @classmethod
    def of(cls, tensor: Tensor) -> _Weight:
        """Mark and copy ``tensor``; nothing waits for its device."""
        return cls(tensor, _Mark.of(tensor), tensor.detach().clone())

    def is_changed(self, now: Tensor | None) -> bool:
        """Whether ``now`` is not this weight with these values. Values are read only where the mark has changed."""
        if now is not self.tensor:
            return True
        mark = _Mark.of(now)
        if mark == self.mark:
            return False
        is_moved = mark.memory != self.mark.memory and not now.is_cpu  # a recorded CUDA graph reads the old memory
        if is_moved or mark.is_trained != self.mark.is_trained or now.shape != self.values.shape:
            return True
        if now.layout != torch.strided:
            return True
        return not torch.equal(now.detach().nan_to_num(), self.values.nan_to_num())


_ADVICE: Final = {
    "weights": "Let adapt, predict and meta_loss compute from new weights (torch.func.functional_call takes them), or "
    "put the old values back into the same tensors before they return.",
    "buffers": "Let only training change buffers (if self.training). " + ADVICE,
    "tasks": "Let adapt, predict and meta_loss make new tensors (x = x - mean, not x -= mean).",
    "modes": "Put the mode of each layer back before they return (layer.train(was_training)).",
    "settings": "Put it back before they return, or set it for a block alone (with torch.no_grad(): ...).",
    "seed": "After torch.manual_seed, each step would draw the same noise; the run seeds torch before each step. Draw "
    "from a generator of your own with a seed, or call torch.manual_seed inside `with torch.random.fork_rng():`.",
}
"""What to do, by what is changed."""


class Weights:
    """The parameters and buffers that tasks must leave as they find them, with copies of their values.

    Args:
        algorithm: Their owner. In training a network may collect statistics in buffers; checkpoints hold them.
    """

    def __init__(self, algorithm: Algorithm) -> None:
        free = not_persistent(algorithm)
        buffers = {} if algorithm.training else dict(algorithm.named_buffers())
        self.parameters = {name: _Weight.of(p) for name, p in algorithm.named_parameters()}
        self.buffers = {name: _Weight.of(buffer) for name, buffer in buffers.items() if name not in free}


class SideEffects:
    """Side effects of tasks: changes of weights, examples, the mode of layers, and settings and the seed of torch.

    Only marks are compared, so that nothing waits for the device; values are compared where a weight was written to.
    Buffers that are not persistent may change, see :class:`Repeats`.

    Args:
        algorithm: The algorithm.
        episodes: Tasks, before they are computed.
        weights: The weights as they must be; None for those of now.
    """

    def __init__(self, algorithm: Algorithm, episodes: Episode, weights: Weights | None = None) -> None:
        self._algorithm = algorithm
        support, query = episodes  # these may share their memory, and then count together how often it was written to
        self._tasks = {"the inputs of tasks": (support.x, query.x), "the labels of tasks": (support.y, query.y)}
        self._weights = Weights(algorithm) if weights is None else weights
        self._before = self._marks()
        self._noise = numpy_and_python_states() if algorithm.training else {}

    def check(self, what: str) -> None:
        """Check that nothing has changed.

        Args:
            what: The kind of task, for the message.

        Raises:
            ConfigError: Something has.
        """
        self._check_names(what)
        weights, buffers = dict(self._algorithm.named_parameters()), dict(self._algorithm.named_buffers())
        changed = {
            "weights": [
                name for name, weight in self._weights.parameters.items() if weight.is_changed(weights.get(name))
            ],
            "buffers": [name for name, buffer in self._weights.buffers.items() if buffer.is_changed(buffers.get(name))],
        }
        now = self._marks()
        for kind, marks in self._before.items():
            changed[kind] = [name for name, mark in marks.items() if now[kind].get(name) != mark]
        if any(changed.values()):
            names = sorted(name for names in changed.values() for name in names)
            raise ConfigError(
                f"{type(self._algorithm).__name__} changes {listed(names, 3)} while it computes {what}; what is "
                f"computed later would start from that. {' '.join(_ADVICE[kind] for kind in changed if changed[kind])}"
            )

    def warn(self) -> None:
        """Warn of parameters without a gradient, and of unseeded noise. In tests it is found by what it gives."""
        warn_of_untrained(self._algorithm)
        later = numpy_and_python_states() if self._noise else {}
        drawn = [library for library, state in self._noise.items() if later[library] != state]
        if drawn:
            log.warning(
                "%s draws random numbers of %s while it computes training tasks, which the run does not seed: it "
                "cannot be repeated. Draw them from torch's own generator, which is seeded in each step.",
                type(self._algorithm).__name__, " and ".join(drawn),
            )  # fmt: skip

    def _check_names(self, what: str) -> None:
        """Refuse new parameters, and other names of old ones: they are known from when the optimiser was made."""
        name = type(self._algorithm).__name__
        before = {id(weight.tensor): path for path, weight in self._weights.parameters.items()}
        for path, parameter in self._algorithm.named_parameters():
            old = before.get(id(parameter))
            if old is None and path not in self._weights.parameters:
                raise ConfigError(
                    f"{name} makes the parameter {path} while it computes {what}, so that it would be neither trained "
                    "nor the same in another run. Make all layers and parameters in the constructor."
                )
            if old is not None and old != path:
                raise ConfigError(
                    f"{name} gives the parameter {old} the name {path} while it computes {what}, as torch.compile does "
                    "where a compiled layer is put in the place of the old one. Do that in the constructor, or keep "
                    "the compiled layer under another name."
                )

    def _marks(self) -> dict[str, dict[str, object]]:
        modules = self._algorithm.named_modules()
        return {
            "tasks": {name: [_Mark.of(tensor) for tensor in tensors] for name, tensors in self._tasks.items()},
            "modes": {f"{name or 'its'} training mode".lstrip("."): module.training for name, module in modules},
            "settings": settings_now(),
            "seed": {"torch's seed": torch.initial_seed()},
        }


@contextmanager
def refuse_side_effects(
    algorithm: Algorithm, episodes: Episode, what: str, weights: Weights | None = None
) -> Iterator[None]:
    """Raise ConfigError where tasks that are computed in this block have side effects, see :class:`SideEffects`.

    Args:
        algorithm: The algorithm.
        episodes: The tasks.
        what: The kind of task, for the message.
        weights: The weights as they must be, copied once for many blocks; None for those of now.
    """
    effects = SideEffects(algorithm, episodes, weights)
    yield
    effects.check(what)


class Repeats:
    """Checks once that a task has the same predictions before and after others.

    Args:
        ranks: The ranks, each of which computes the task.

    Attributes:
        is_done: Whether it has checked.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self.is_done = False

    @contextmanager
    def check(
        self,
        algorithm: Algorithm,
        predict: Callable[[], Tensor],
        what: str,
        by_path: Callable[[], Tensor] | None = None,
    ) -> Iterator[None]:
        """Compare the predictions before and after this block. It does nothing from the second time on.

        Args:
            algorithm: The algorithm, for the message.
            predict: Returns the predictions for the task, from the same seed each time.
            what: Which task, for the message.
            by_path: The same from the last state of ``adaptation_path``; None where that is what ``adapt`` returns.

        Raises:
            ConfigError: They differ by more than rounding.
        """
        before = None if self.is_done else self._ranks.run(predict)
        if before is not None and by_path is not None:
            self._ranks.run(lambda: _compare_path(algorithm, before, predict, by_path, what))
        yield
        if before is not None:
            self._ranks.run(lambda: _compare(algorithm, before, predict(), what))
            self.is_done = True


def _compare(
    algorithm: Algorithm, first: Tensor, again: Tensor, what: str, when: str = "after other tasks than before them"
) -> None:
    """Raise ConfigError where predictions differ by more than rounding."""
    if not _agree(first, again):
        raise ConfigError(
            f"{type(algorithm).__name__} gives other predictions for {what} {when}. It "
            "keeps something from one task to the next, or draws random numbers that the run does not seed (of numpy, "
            "of Python, of a generator of its own), so its numbers mean nothing. Make adapt and predict functions of "
            "one task; noise from torch's own generator is seeded. `metaexp check` says more."
        )


def _compare_path(
    algorithm: Algorithm, first: Tensor, predict: Callable[[], Tensor], by_path: Callable[[], Tensor], what: str
) -> None:
    """Raise ConfigError where the last state of ``adaptation_path`` predicts something else than that of ``adapt``."""
    noise = noise_of(first)
    again = by_path()
    draws_alike = torch.equal(noise_of(again), noise)  # both begin at one seed
    if draws_alike and not _agree(first, again):
        _compare(algorithm, first, predict(), what, "when it is computed again")  # the path may not be at fault
        raise ConfigError(
            f"the last state of adaptation_path of {type(algorithm).__name__} predicts something else for {what} than "
            "what adapt returns. The test would measure other predictions than validation and `metaexp predict` make. "
            "Let adaptation_path end with what adapt returns."
        )


def noise_of(found: Tensor) -> Tensor:
    """Return the state of the generator from which noise is drawn where a tensor is.

    Args:
        found: The tensor.
    """
    return torch.cuda.get_rng_state(found.device) if found.is_cuda else torch.get_rng_state()


def _agree(first: Tensor, again: Tensor) -> bool:
    """Whether predictions differ by no more than rounding; equal values are equal, NaN and infinite, too."""
    if first.shape != again.shape:
        return False
    first, again = first.detach(), again.detach()
    size = first[first.isfinite()].abs().max() if first.isfinite().any() else 0.0
    return torch.allclose(first, again, rtol=0.0, atol=float(_ROUNDING * size), equal_nan=True)
