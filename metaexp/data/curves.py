"""Curves to be continued: a family of sequence regression tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from metaexp.core.errors import ConfigError
from metaexp.core.fields import NonNegativeFloat, PositiveFloat, PositiveInt
from metaexp.data.base import Dataset, MetaDataset, Progress
from metaexp.data.inventory.card import COMPUTED
from metaexp.data.inventory.sources import Sources, computed
from metaexp.data.regression.number_range import number_range


class Curves(Dataset):
    """Tasks in which the rest of a curve is predicted from its beginning.

    A task is one signal, of a family drawn from ``families``: a sinusoid, a damped sinusoid, or a mixture of two
    with frequencies of no simple ratio. Its examples are windows of that signal: ``length`` values are given and
    ``horizon`` values are asked for. One short noisy window does not tell the frequencies, the damping and the
    mixture; the other windows of the same task do, so there is something to adapt to.

    Windows start anywhere from 0 to ``start``, and values in a window are one unit of time apart; ``period`` is in
    these units. ``amplitude`` and ``period`` are [lowest, highest]; amplitudes and frequencies are uniform between.
    """

    kind = "regression"
    card = COMPUTED

    def __init__(
        self,
        families: list[Literal["sinusoid", "damped", "mixed"]],
        length: PositiveInt,
        horizon: PositiveInt,
        start: PositiveFloat,
        amplitude: list[float],
        period: list[float],
        noise: NonNegativeFloat,
    ) -> None:
        """Describe the family.

        Args:
            families: The kinds of curves that tasks are drawn from.
            length: Values that are given.
            horizon: Values that are asked for.
            start: The latest time at which a window starts.
            amplitude: [lowest, highest].
            period: [lowest, highest], in steps between values; above 2.
            noise: Standard deviation of what is added to each value.

        Raises:
            ConfigError: ``families`` or a range is impossible.
        """
        if not families or len(set(families)) < len(families):
            raise ConfigError(
                f"dataset.families={list(families)} must name one or more of sinusoid, damped and mixed, each once."
            )
        self.families = tuple(families)
        self.length = length
        self.horizon = horizon
        self.start = start
        self.amplitude = number_range("amplitude", amplitude)
        self.period = number_range("period", period, above=2.0)
        self.noise = noise

    def capacity(self) -> None:
        """Return None: tasks are endless."""
        return

    def sources(self, folder: Path) -> Sources:
        """Return that nothing is read from files."""
        return computed()

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        """Return the family; its tasks are computed when asked for."""
        from metaexp.data.regression.function_families import CurveFamily

        return CurveFamily(
            self.families, self.length, self.horizon, self.start, self.amplitude, self.period, self.noise
        )
