"""The two families of regression tasks: MAML's sinusoids, and curves to be continued."""

from __future__ import annotations

import math
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor

from metaexp.core.addressing import integers
from metaexp.data.regression.device_exact_math import decay, normal, sine, uniform
from metaexp.data.regression.tasks import FunctionFamily

Range = tuple[float, float]
CurveKind = Literal["sinusoid", "damped", "mixed"]

_SECOND: Final = (1.5, 3.0)
"""Frequency of the second sinusoid of a mixture, in multiples of the first's."""
_WEIGHT: Final = (0.3, 0.7)
"""Share of the first sinusoid of a mixture."""
_DAMPING: Final = (0.5, 2.5)
"""By which power of e a damped curve shrinks over all the times that windows reach."""


class Waves(NamedTuple):
    """Sinusoids y = amplitude * sin(frequency * x - phase), each entry (T,) float32; without ``frequency`` it is 1."""

    amplitude: Tensor
    phase: Tensor
    frequency: Tensor | None = None


class SinusoidFamily(FunctionFamily):
    """Sinusoids; amplitude, phase, inputs and, where it is drawn, the frequency are uniform in their ranges."""

    words_per_example = 1

    def __init__(
        self, amplitude: Range, phase: Range, x: Range, task_as_input: bool = False, frequency: Range | None = None
    ) -> None:
        """Take the ranges, and whether examples contain what the task draws, too."""
        conventions: dict[str, Any] = {"amplitude": amplitude, "phase": phase, "x": x}
        if task_as_input:
            conventions["task_as_input"] = True
        if frequency is not None:
            conventions["frequency"] = frequency
        self.words_per_task = 2 if frequency is None else 3
        inputs = 1 + self.words_per_task if task_as_input else 1
        super().__init__("sinusoid", (inputs,), 1, {**conventions, "version": 1})
        self.amplitude, self.phase, self.x, self.frequency = amplitude, phase, x, frequency
        self.task_as_input = task_as_input

    def parameters(self, words: Tensor) -> Waves:
        """Return the sinusoids of ``words`` (T, 2), or (T, 3) with a drawn frequency."""
        frequency = None if self.frequency is None else uniform(words[:, 2], *self.frequency)
        return Waves(uniform(words[:, 0], *self.amplitude), uniform(words[:, 1], *self.phase), frequency)

    def function(self, parameters: Any, at: Tensor) -> Tensor:
        """Return y (T, P) at x = ``at`` (T, P)."""
        waves: Waves = parameters
        angle = at if waves.frequency is None else waves.frequency[:, None] * at
        return waves.amplitude[:, None] * sine(angle - waves.phase[:, None])

    def examples(self, parameters: Any, words: Tensor) -> tuple[Tensor, Tensor]:
        """Return x (T, S, 1) and y (T, S, 1); with ``task_as_input``, x has the task's amplitude, phase, ... too."""
        x = uniform(words[..., 0], *self.x)
        y = self.function(parameters, x).unsqueeze(-1)
        if not self.task_as_input:
            return x.unsqueeze(-1), y
        drawn = [value for value in parameters if value is not None]
        return torch.stack([x, *(value[:, None].expand_as(x) for value in drawn)], dim=-1), y


class Signals(NamedTuple):
    """Curves of time t; every entry is (T,) float32.

    amplitude * (weight * sin(frequency t + phase) + (1 - weight) * sin(second_frequency t + second_phase))
    * exp(-damping t). Frequencies are angular. kind: (T,) int64, the place in the list of kinds.
    """

    kind: Tensor
    amplitude: Tensor
    frequency: Tensor
    phase: Tensor
    weight: Tensor
    second_frequency: Tensor
    second_phase: Tensor
    damping: Tensor


class CurveFamily(FunctionFamily):
    """Windows of curves: the beginning is the input, the rest the target.

    A curve is one signal over the times 0 to ``start`` + length + horizon - 1. An example is a window of it that
    starts anywhere up to ``start``: its first ``length`` values (L, 1), in steps of one, and the ``horizon`` values
    that follow. All values carry normal noise of standard deviation ``noise``.
    """

    words_per_task = 8

    def __init__(
        self,
        kinds: tuple[CurveKind, ...],
        length: int,
        horizon: int,
        start: float,
        amplitude: Range,
        period: Range,
        noise: float,
    ) -> None:
        """Take what :class:`metaexp.data.curves.Curves` was given."""
        conventions = {"kinds": kinds, "start": start, "amplitude": amplitude, "period": period, "noise": noise}
        super().__init__("curves", (length, 1), horizon, {**conventions, "shape": [length, horizon], "version": 1})
        self.kinds, self.length, self.horizon = kinds, length, horizon
        self.start, self.amplitude, self.period, self.noise = start, amplitude, period, noise
        self.words_per_example = 1 + length + horizon

    def parameters(self, words: Tensor) -> Signals:
        """The curves of ``words`` (T, 8). Frequencies are uniform, between those of the longest and shortest period."""
        kind = integers(words[:, 0], len(self.kinds))
        mixed, damped = self._is(kind, "mixed"), self._is(kind, "damped")
        extent = self.start + self.length + self.horizon - 1
        frequency = uniform(words[:, 2], 2.0 * math.pi / self.period[1], 2.0 * math.pi / self.period[0])
        return Signals(
            kind,
            uniform(words[:, 1], *self.amplitude),
            frequency,
            uniform(words[:, 3], 0.0, 2.0 * math.pi),
            torch.where(mixed, uniform(words[:, 4], *_WEIGHT), 1.0),
            frequency * uniform(words[:, 5], *_SECOND),
            uniform(words[:, 6], 0.0, 2.0 * math.pi),
            torch.where(damped, uniform(words[:, 7], _DAMPING[0] / extent, _DAMPING[1] / extent), 0.0),
        )

    def function(self, parameters: Any, at: Tensor) -> Tensor:
        """Return the values (T, P) at the times ``at`` (T, P) >= 0, without noise."""
        signals = Signals(*(entry[:, None] for entry in parameters))
        first = signals.weight * sine(signals.frequency * at + signals.phase)
        second = (1.0 - signals.weight) * sine(signals.second_frequency * at + signals.second_phase)
        return signals.amplitude * (first + second) * decay(signals.damping * at)

    def examples(self, parameters: Any, words: Tensor) -> tuple[Tensor, Tensor]:
        """Return x (T, S, length, 1) and y (T, S, horizon)."""
        step = torch.arange(self.length + self.horizon, device=words.device).to(torch.float32)
        times = uniform(words[..., :1], 0.0, self.start) + step  # (T, S, length + horizon)
        values = self.function(parameters, times.flatten(1)).view(times.shape)
        values = values + self.noise * normal(words[..., 1:])
        return values[..., : self.length, None], values[..., self.length :]

    def _is(self, kind: Tensor, name: CurveKind) -> Tensor:
        """Whether tasks (T,) are of the kind ``name``."""
        return kind == (self.kinds.index(name) if name in self.kinds else -1)
