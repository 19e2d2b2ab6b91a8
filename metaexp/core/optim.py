"""Learning-rate schedules and gradient clipping of the outer loop, as functions of the step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from numbers import Real

import torch
from torch import Tensor, nn

from metaexp.core.errors import ConfigError
from metaexp.core.fields import Fraction, PositiveFloat, PositiveInt


class Schedule(ABC):
    """A factor on the optimiser's learning rate."""

    @abstractmethod
    def factor(self, step: int, total_steps: int) -> float:
        """The factor during training step ``step`` (0-based) of ``total_steps``.

        Args:
            step: The training step, from 0.
            total_steps: Steps of the whole run.
        """


def checked_factor(schedule: Schedule, step: int, total_steps: int) -> float:
    """Return the factor of a schedule.

    Args:
        schedule: The schedule.
        step: The training step, from 0.
        total_steps: Steps of the whole run.

    Raises:
        ConfigError: It is not a number, is below 0, or is not finite.
    """
    factor: object = schedule.factor(step, total_steps)  # code of users may return anything
    if isinstance(factor, Real) and 0.0 <= float(factor) < math.inf:
        return float(factor)
    raise ConfigError(
        f"schedule: {type(schedule).__name__} gives the factor {factor!r} for step {step:,}; it must be a finite "
        "number, at least 0, by which the learning rate is multiplied."
    )


class Constant(Schedule):
    """The learning rate never changes."""

    def factor(self, step: int, total_steps: int) -> float:
        return 1.0


class Step(Schedule):
    """The learning rate is multiplied by ``gamma`` after every ``every`` steps."""

    def __init__(self, every: PositiveInt, gamma: Fraction) -> None:
        self.every = every
        self.gamma = gamma

    def factor(self, step: int, total_steps: int) -> float:
        return float(self.gamma ** (step // self.every))


class Linear(Schedule):
    """The factor falls linearly from 1 to ``final`` over the whole run (Reptile)."""

    def __init__(self, final: Fraction) -> None:
        self.final = final

    def factor(self, step: int, total_steps: int) -> float:
        return 1.0 + (self.final - 1.0) * step / total_steps


class Cosine(Schedule):
    """The factor falls as half a cosine from 1 to ``final`` (Loshchilov & Hutter, 2017, without restarts).

    The rate is constant within periods of ``every`` steps (MAML++ anneals once per epoch of 500).
    """

    def __init__(self, final: Fraction, every: PositiveInt) -> None:
        self.final = final
        self.every = every

    def factor(self, step: int, total_steps: int) -> float:
        periods = max(math.ceil(total_steps / self.every), 1)
        progress = min(step // self.every, periods) / periods
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * progress))


class Clip(ABC):
    """Bounds gradients in place before the optimiser takes a step."""

    @abstractmethod
    def apply(self, module: nn.Module) -> None:
        """Change the ``.grad`` of the parameters of ``module``; those without one are left out."""


class NoClip(Clip):
    """Gradients are used as they are."""

    def apply(self, module: nn.Module) -> None:
        return


class ClipValue(Clip):
    """Limits every entry of the gradient to [-threshold, threshold]."""

    def __init__(self, threshold: PositiveFloat) -> None:
        self.threshold = threshold

    def apply(self, module: nn.Module) -> None:
        nn.utils.clip_grad_value_(module.parameters(), self.threshold)


class ClipNorm(Clip):
    """Limits the norm over all parameters to ``threshold``."""

    def __init__(self, threshold: PositiveFloat) -> None:
        self.threshold = threshold

    def apply(self, module: nn.Module) -> None:
        _clip_norm(module.parameters(), self.threshold)


class ClipNormPerModule(Clip):
    """Limits the norm over the parameters of each direct child of the algorithm to ``threshold``, separately."""

    def __init__(self, threshold: PositiveFloat) -> None:
        self.threshold = threshold

    def apply(self, module: nn.Module) -> None:
        for child in module.children():
            _clip_norm(child.parameters(), self.threshold)
        _clip_norm(module.parameters(recurse=False), self.threshold)


def total_norm(tensors: list[Tensor]) -> Tensor:
    """Return the norm () over all entries of ``tensors``, to the last digit that of ``torch.nn.utils.get_total_norm``.

    That function first sorts the tensors by device and dtype. On the CPU it then takes each norm by a call from Python.
    For a small network this took longer than the norms.

    Args:
        tensors: All on one device.
    """
    if len({t.dtype for t in tensors}) != 1:
        return nn.utils.get_total_norm(tensors)
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))
    return norm


def _clip_norm(parameters: Iterable[nn.Parameter], threshold: float) -> None:
    """Scale gradients so that their global norm is at most ``threshold``, without reading it back to the host."""
    found = [p for p in parameters if p.grad is not None]
    if found:
        norm = total_norm([p.grad for p in found if p.grad is not None])
        nn.utils.clip_grads_with_norm_(found, threshold, norm)
