"""Sinusoid regression: the tasks of the MAML paper (Finn, Abbeel & Levine, ICML 2017, section 5.1)."""

from __future__ import annotations

from pathlib import Path

from metaexp.data.base import Dataset, MetaDataset, Progress
from metaexp.data.inventory.card import COMPUTED
from metaexp.data.inventory.sources import Sources, computed
from metaexp.data.regression.number_range import number_range


class Sinusoid(Dataset):
    """Tasks y = amplitude * sin(frequency * x - phase), one output, without noise.

    Amplitude, phase and inputs are uniform in their ranges, [lowest, highest]; in the paper and the authors' code
    [0.1, 5], [0, pi] and [-5, 5]. There, the frequency is 1. Li et al. (Meta-SGD, 2017, section 4.1) draw it, too.
    """

    kind = "regression"
    card = COMPUTED

    def __init__(
        self,
        amplitude: list[float],
        phase: list[float],
        x: list[float],
        task_as_input: bool = False,
        frequency: list[float] | None = None,
    ) -> None:
        """Describe the family.

        Args:
            amplitude: [lowest, highest].
            phase: [lowest, highest], in radians.
            x: [lowest, highest] of the inputs.
            task_as_input: An example is (x, amplitude, phase) in place of x, so nothing is left to find out about a
                task. That is the input of the paper's oracle. If the frequency is drawn, it is a fourth input.
            frequency: [lowest, highest] of the angular frequency. None: it is 1.

        Raises:
            ConfigError: A range is impossible.
        """
        self.amplitude = number_range("amplitude", amplitude)
        self.phase = number_range("phase", phase)
        self.x = number_range("x", x)
        self.task_as_input = task_as_input
        self.frequency = None if frequency is None else number_range("frequency", frequency)

    def capacity(self) -> None:
        """Return None: tasks are endless."""
        return

    def sources(self, folder: Path) -> Sources:
        """Return that nothing is read from files."""
        return computed()

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        """Return the family; its tasks are computed when asked for."""
        from metaexp.data.regression.function_families import SinusoidFamily

        return SinusoidFamily(self.amplitude, self.phase, self.x, self.task_as_input, self.frequency)
