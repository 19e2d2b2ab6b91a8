"""Computes the first training task before and after the others of its step, and says what differs."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from metaexp.core.algorithm import Algorithm
from metaexp.core.counted import listed
from metaexp.core.errors import ConfigError
from metaexp.core.types import Episode, select_tasks
from metaexp.data.base import TaskSource
from metaexp.models.library_noise import seed_numpy_and_python
from metaexp.run.side_effects.gradient_order import warn_of_order
from metaexp.run.side_effects.loss_direction import warn_of_loss_direction
from metaexp.run.side_effects.not_saved import note_not_saved
from metaexp.run.side_effects.own_generators import keep_generators

log = logging.getLogger(__name__)

_ROUNDING_CPU = 1e-5
_ROUNDING = 1e-3
"""The difference that rounding may make on an accelerator, which may add in another order."""


def first_task(source: TaskSource, indices: Tensor) -> Episode:
    """Return the first of some training tasks, with a leading T of 1.

    Args:
        source: Makes the tasks.
        indices: Their numbers (T,).
    """
    return select_tasks(source.episodes("train", indices[:1] if source.varies else indices), 0, 1)


class FirstTask:
    """The first training task, computed twice: now, and by :meth:`check` after the other tasks of its step.

    Both times begin with the same buffers, and those of training come back, for it may write into them. So do random
    generators of own code, as far as they are found.

    Args:
        algorithm: The algorithm that is trained.
        loss: Returns the meta-loss (1,) of the task, from the same seed each time.
    """

    def __init__(self, algorithm: Algorithm, loss: Callable[[], Tensor]) -> None:
        self._algorithm = algorithm
        self._loss = loss
        self._buffers = [(t, t.clone()) for t in algorithm.buffers() if t.layout == torch.strided]
        self._before, self._leaves = self._compute()

    def check(self, task: Callable[[], Episode]) -> None:
        """Compute the task again, and look at the order of its meta-gradient and at the loss of right answers.

        Args:
            task: Makes the task, with a leading T of 1.

        Raises:
            ConfigError: The meta-loss depends on trainable weights that are not parameters of the algorithm.
        """
        again, leaves = self._compute()
        self._refuse_unknown([leaf for leaf in leaves if any(leaf is other for other in self._leaves)])
        rounding = _ROUNDING_CPU if again.is_cpu else _ROUNDING
        if not torch.allclose(again, self._before, rtol=rounding, atol=1e-12, equal_nan=True):
            log.warning(
                "%s gives another meta-loss for the first training task after other tasks than before them. It keeps "
                "something from task to task in an attribute, or draws from a random generator of its own. No "
                "checkpoint holds that: a run that is stopped and resumed will differ from one that is not. Keep what "
                "training collects in a buffer (register_buffer), compute what changes with the steps in set_progress, "
                "and draw noise from torch's own generator.",
                type(self._algorithm).__name__,
            )
            note_not_saved(self._algorithm, [f"what {type(self._algorithm).__name__} keeps from task to task"])
        with keep_generators(self._algorithm):
            warn_of_order(self._algorithm, task)
            warn_of_loss_direction(self._algorithm, task)

    def _compute(self) -> tuple[Tensor, list[Tensor]]:
        """The meta-loss (1,) and the trainable tensors that it depends on."""
        later = [(tensor, tensor.clone()) for tensor, _ in self._buffers]
        _put(self._buffers)
        with keep_generators(self._algorithm), torch.enable_grad(), seed_numpy_and_python(0):
            loss = self._loss()
        _put(later)
        return loss.detach(), _leaves(loss)

    def _refuse_unknown(self, leaves: list[Tensor]) -> None:
        known = {id(parameter) for parameter in self._algorithm.parameters()}
        unknown = [leaf for leaf in leaves if id(leaf) not in known]
        if unknown:
            kinds = ("parameters", "layer") if isinstance(unknown[0], nn.Parameter) else ("tensors", "tensor")
            shapes = listed([str(tuple(leaf.shape)) for leaf in unknown], 3)
            raise ConfigError(
                f"the meta-loss of {type(self._algorithm).__name__} depends on trainable {kinds[0]} of shape {shapes}, "
                "which torch does not find in it, so that they would be neither trained nor saved. Make each "
                f"{kinds[1]} an attribute of the algorithm or of its network (self.layer = nn.Linear(...), self.w = "
                "nn.Parameter(...)), not part of a function or of another object. What is not meant to be trained "
                "needs requires_grad_(False)."
            )


def _put(values: list[tuple[Tensor, Tensor]]) -> None:
    """Put values into buffers."""
    with torch.no_grad():
        for tensor, value in values:
            if tensor.shape == value.shape:
                tensor.copy_(value)


def _leaves(loss: Tensor) -> list[Tensor]:
    """The tensors at which the gradient of ``loss`` ends."""
    found: list[Tensor] = []
    seen = set()
    left = [loss.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, Tensor):
            found.append(leaf)
        left += [function for function, _ in node.next_functions]
    return found
