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


_FEWEST, _LEAST_SHARE = 5, 0.2
"""The least number and share of the rarer steps where rounding explains both. Days without Sundays have one in six."""
_MOST_ROUNDING = 1.5
"""Rounding moves times by less than one unit, within which the even step is estimated."""
_NOISE = 1e-3
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

    So the months of a calendar are equal, and times may jitter. Whole numbers of any size are compared exactly. Steps
    that differ because their times are rounded are equal, too: 1.5 s in whole seconds is 0, 1, 3, 4, 6.

    Args:
        times: The times (T) in order.
    """
    import numpy as np

    steps = [later - earlier for earlier, later in pairwise(times)]
    usual = sorted(steps)[len(steps) // 2] if steps else 0
    found = np.array([not 2 * usual <= 3 * step or 2 * step > 3 * usual for step in steps], bool)
    return found & ~_rounded_steps(np.array(steps, float)) if found.any() else found


def _rounded_steps(steps: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which steps (T - 1) are one or two units of an even step between these, as its rounded times have them."""
    import numpy as np

    in_units = steps / steps.min()
    units = np.rint(in_units)
    fits = (np.abs(in_units - units) < _NOISE) & (units <= 2)
    ends = np.array([0, *np.flatnonzero(np.diff(fits)) + 1, len(steps)])
    mixed = np.zeros(len(steps), bool)
    for number in np.flatnonzero(np.diff(ends) >= 2 * _FEWEST):
        part = slice(ends[number], ends[number + 1])
        mixed[part] = _are_evenly_mixed(units[part])
    return np.array(fits & mixed, bool)


def _are_evenly_mixed(units: npt.NDArray[np.float64]) -> bool:
    """Whether steps of one and of two units alternate as a step in between gives them, and not as gaps do."""
    import numpy as np

    n_rarer = min((units == 1).sum(), (units == 2).sum())
    if n_rarer < _FEWEST or n_rarer < _LEAST_SHARE * len(units):
        return False
    times, places = np.cumsum(units), np.arange(len(units))
    from_even = times - np.polyval(np.polyfit(places, times, 1), places)
    return bool(np.ptp(from_even) < _MOST_ROUNDING)


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
