"""The algorithm under examination: how it is built, trained and tested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.func import functional_call

from metaexp.core.algorithm import Algorithm
from metaexp.core.over_tasks import over_tasks
from metaexp.core.shapes import TaskShape, trains_on_batches
from metaexp.core.types import Episode, Examples, one_task
from metaexp.doctor.tiny import (
    IMAGE,
    N_TARGETS,
    SHAPES,
    TRAIN_CLASSES,
    Features,
    Kind,
    TinyConv,
    stack,
    supervised_task,
    task,
)
from metaexp.models.base import Network
from metaexp.models.library_noise import numpy_and_python_states, seed_numpy_and_python
from metaexp.models.torch_settings import refuse_changed_settings

FEW_STEPS = 3
"""Inner steps are cut to as many where only the equations matter."""
MANY_STEPS = 50
"""Inner steps are cut to as many where the algorithm has to learn."""


class Make(Protocol):
    """Makes an algorithm around a network, with inner loops of at most ``most_steps`` steps where it knows how."""

    def __call__(
        self,
        most_steps: int,
        *,
        model: Network,
        input_shape: tuple[int, ...],
        n_outputs: int,
        train_shape: TaskShape,
    ) -> Algorithm:
        """Make the algorithm."""


@dataclass(frozen=True)
class Subject:
    """One way to build an algorithm, examined on one kind of task."""

    name: str
    cls: type[Algorithm]
    make: Make
    kind: Kind = "classification"
    features: Features = "maps"

    def on(self, kind: Kind) -> Subject:
        """Return the same algorithm on another kind of task."""
        return replace(self, kind=kind)

    @property
    def shape(self) -> TaskShape:
        """The shape of its tasks, unless a check takes another."""
        return SHAPES[self.kind]

    @property
    def is_supervised(self) -> bool:
        """Whether it is trained on batches under fixed labels instead of tasks."""
        return trains_on_batches(self.cls.training_tasks, self.shape.n_way)

    def build(
        self,
        shape: TaskShape | None = None,
        *,
        seed: int = 0,
        most_steps: int = FEW_STEPS,
        use_batch_norm: bool = True,
    ) -> Algorithm:
        """Build a new algorithm in float64, in training mode. Global generators stay as they are.

        Args:
            shape: The shape of its tasks; by default, that of the kind of task.
            seed: The seed of its weights.
            most_steps: Inner steps are cut to as many.
            use_batch_norm: Whether its network has batch norm.
        """
        shape = shape or self.shape
        n_outputs = TRAIN_CLASSES if self.is_supervised else shape.n_way or N_TARGETS
        with fix_noise(seed), refuse_changed_settings(self.name):
            algorithm = self.make(
                most_steps,
                model=TinyConv(
                    None if self.cls.model_output == "embedding" else n_outputs, use_batch_norm, self.features
                ),
                input_shape=IMAGE,
                n_outputs=n_outputs,
                train_shape=shape,
            )
        return algorithm.double().train()

    def task(self, seed: int = 0) -> Episode:
        """Return a task to test on."""
        return task(self.shape, seed)

    def training_task(self, seed: int = 0) -> Episode:
        """Return a task, or a supervised batch, to train on."""
        return supervised_task(seed) if self.is_supervised else task(self.shape, seed)

    def training_batch(self, n_tasks: int, start: int = 0) -> Episode:
        """Return training tasks ``start``, ``start + 1``, ... along a leading T.

        Args:
            n_tasks: T.
            start: The number of the first task.
        """
        return stack([self.training_task(start + i) for i in range(n_tasks)])


def losses_of(algorithm: Algorithm, batch: Episode, chunk_size: int | None = None) -> Tensor:
    """Return meta-losses (T,) as training computes them. Noise always starts from the same seed.

    Training may collect numbers in buffers. They start from their values of now, which they keep.

    Args:
        algorithm: The algorithm.
        batch: The tasks.
        chunk_size: How many tasks are computed at once; None for all.
    """
    buffers = _copied_buffers(algorithm)

    def loss(episode: Episode) -> Tensor:
        value: Tensor = functional_call(algorithm, dict(buffers), (episode,))
        return value

    with fix_noise(0):
        out: Tensor = over_tasks(loss, batch, chunk_size if algorithm.can_be_mapped else 1)
    return out


def _copied_buffers(algorithm: Algorithm) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in algorithm.named_buffers()}


def parameters_of(algorithm: Algorithm) -> dict[str, Tensor]:
    """Return name -> parameter, of those that are trained."""
    return {name: p for name, p in algorithm.named_parameters() if p.requires_grad}


def gradient_of(algorithm: Algorithm, batch: Episode, chunk_size: int | None = None) -> dict[str, Tensor]:
    """Return the gradient of the mean meta-loss by name, with zeros for parameters that it does not reach.

    Args:
        algorithm: The algorithm.
        batch: The tasks.
        chunk_size: How many tasks are computed at once; None for all.
    """
    found = connected_gradient(algorithm, batch, chunk_size)
    return {name: found.get(name, torch.zeros_like(p)) for name, p in parameters_of(algorithm).items()}


def connected_gradient(algorithm: Algorithm, batch: Episode, chunk_size: int | None = None) -> dict[str, Tensor]:
    """Return the gradient of the mean meta-loss by name, for the parameters that the meta-loss is computed from.

    Args:
        algorithm: The algorithm.
        batch: The tasks.
        chunk_size: How many tasks are computed at once; None for all.
    """
    parameters = parameters_of(algorithm)
    loss = losses_of(algorithm, batch, chunk_size).mean()
    if not loss.requires_grad:
        return {}
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return {name: g for name, g in zip(parameters, gradients, strict=True) if g is not None}


def draws_noise(algorithm: Algorithm, batch: Episode) -> bool:
    """Whether a meta-loss draws random numbers (dropout in training, say).

    Args:
        algorithm: The algorithm, in training or evaluation mode.
        batch: Tasks with a leading T, of which the first is used.
    """
    with fix_noise(0), torch.no_grad():
        before = random_states()
        functional_call(algorithm, _copied_buffers(algorithm), (one_task(batch, 0),))
        return random_states() != before


def predictions(algorithm: Algorithm, support: Examples, x: Tensor) -> Tensor:
    """Return scores (M, N) or outputs (M, D_out) after adaptation to one task.

    Args:
        algorithm: The algorithm.
        support: The support set of the task.
        x: The queries (M, ...).
    """
    with torch.no_grad():
        scores: Tensor = algorithm.predict(algorithm.adapt(support), x)
    return scores


@contextmanager
def fix_noise(seed: int) -> Iterator[None]:
    """Seed the global generators of torch (CPU), numpy and Python for this block, and restore them after it."""
    with torch.random.fork_rng(devices=[]), seed_numpy_and_python(seed):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed queues seeds for backends that are not in use
        yield


def random_states() -> dict[str, object]:
    """Return library -> the state of its global generator."""
    return {"torch": torch.get_rng_state().tolist(), **numpy_and_python_states()}
