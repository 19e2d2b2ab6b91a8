"""The times of a series' steps, and where a step is longer or shorter than the others. Without torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


_COMPACT = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})?")


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


def compact_dates(written: Sequence[str]) -> list[int] | None:
    """Return the days of dates that are written as whole numbers, ``20260131`` or ``202601``; None for other times.

    As numbers they are in the same order, but the step from 20260131 to 20260201 would seem longer than the others.

    Args:
        written: The times (T), as the file has them.
    """
    parts = [found for found in map(_COMPACT.fullmatch, written) if found is not None]
    if len(parts) < len(written):
        return None
    try:
        return [
            date(int(year), int(month), int(day or 1)).toordinal() for year, month, day in (p.groups() for p in parts)
        ]
    except ValueError:  # there is no such day
        return None
