"""The times of a series' steps, and where a step is longer or shorter than the others. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class StepTimes(NamedTuple):
    """The times of one series.

    Attributes:
        written: The times (T) in order, as the file has them.
        is_uneven: Whether the step from each value to the next (T - 1) has another length than most.
    """

    written: list[str]
    is_uneven: npt.NDArray[np.bool_]

    def crossing(self, starts: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.bool_]:
        """Return which windows (B) hold an uneven step.

        Args:
            starts: The places of their first values (B).
            size: How many values a window has.
        """
        import numpy as np

        before = np.concatenate([[0], np.cumsum(self.is_uneven)])
        crossed: npt.NDArray[np.bool_] = before[starts + size - 1] > before[starts]
        return crossed

    def first_uneven(self, start: int) -> str:
        """Return the first uneven step from a place on: ``from TIME to TIME``.

        Args:
            start: The place, before an uneven step.
        """
        place = start + int(self.is_uneven[start:].argmax())
        return f"from {self.written[place]} to {self.written[place + 1]}"


def uneven_steps(times: Sequence[float | int]) -> npt.NDArray[np.bool_]:
    """Return which steps (T - 1) are more than half longer, or more than a third shorter, than the median step.

    So the months of a calendar are equal, and times may jitter. Whole numbers of any size are compared exactly.

    Args:
        times: The times (T) in order.
    """
    import numpy as np

    steps = [later - earlier for earlier, later in pairwise(times)]
    usual = sorted(steps)[len(steps) // 2] if steps else 0
    return np.array([not 2 * usual <= 3 * step or 2 * step > 3 * usual for step in steps], bool)
