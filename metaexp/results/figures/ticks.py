"""Where an axis has ticks, and the numbers at them, without matplotlib's objects for ticks, which are slow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.ticker import LogLocator, ScalarFormatter

from metaexp.results.figures.lettering import points, width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

TICK_SIZE = 10.0
"""Of the numbers, in points."""
_APART = 6.0
"""Points between the numbers of the x axis at least."""
_MOST_DECADES = 5
"""Small ticks of a logarithmic axis would be too close in more than these."""
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MINUS = "\N{MINUS SIGN}"


class Ticks(NamedTuple):
    """The ticks of an axis.

    Attributes:
        at: (T,), pixels of the figure, ascending.
        names: The number at each.
        minor: Pixels of the small ticks, which have no number.
    """

    at: NDArray[Any]
    names: list[str]
    minor: NDArray[Any]

    def overhang(self, low: float, high: float) -> tuple[float, float]:
        """Return how far the first and the last number of the x axis stand out on either side.

        Args:
            low: Left end of the axis in pixels.
            high: Right end.
        """
        if not self.names:
            return 0.0, 0.0
        first, last = (width(name, TICK_SIZE) / 2 for name in (self.names[0], self.names[-1]))
        return low - (float(self.at[0]) - first), float(self.at[-1]) + last - high


def y_ticks(axes: Axes) -> Ticks:
    """Return the ticks of the y axis at the present place of the axes."""
    return _ticks(axes, 1)


def x_ticks(axes: Axes) -> Ticks:
    """Return the ticks of the x axis, as many as have room for their numbers."""
    ticks = _ticks(axes, 0)
    for most in (8, 6, 5, 4, 3, 2, 1):
        if _have_room(ticks) or axes.get_xscale() == "log":
            break
        locator: Any = axes.xaxis.get_major_locator()
        locator.set_params(nbins=most)
        ticks = _ticks(axes, 0)
    return ticks


def _have_room(ticks: Ticks) -> bool:
    halves = np.array([width(name, TICK_SIZE) / 2 for name in ticks.names])
    return bool((np.diff(ticks.at) >= halves[:-1] + halves[1:] + points(_APART)).all())


def _ticks(axes: Axes, which: int) -> Ticks:
    axis = (axes.xaxis, axes.yaxis)[which]
    low, high = sorted(axis.get_view_interval())
    if axis.get_scale() == "log":
        values, minor = _log_places(low, high)
        names = _powers(values)
    else:
        values, minor = _within(axis.get_major_locator()(), low, high), np.empty(0)
        formatter = axis.get_major_formatter()
        plain = isinstance(formatter, ScalarFormatter)
        names = format_numbers(values.tolist()) if plain else formatter.format_ticks(values.tolist())
    order = np.argsort(at := _pixels(axes, which, values))
    return Ticks(at[order], [names[i] for i in order], _pixels(axes, which, minor))


def _within(values: Any, low: float, high: float) -> NDArray[Any]:
    """The values between ``low`` and ``high``, and those that are beyond by rounding alone."""
    places: NDArray[Any] = np.asarray(values, dtype=np.float64)
    slack = 1e-9 * (high - low)
    return places[(places >= low - slack) & (places <= high + slack)]


def _powers_within(subs: Sequence[float], most: int, low: float, high: float) -> NDArray[Any]:
    """Places on a logarithmic axis, where small numbers are as far apart as large ones."""
    values = LogLocator(subs=subs, numticks=most).tick_values(low, high)
    return np.unique(10.0 ** _within(np.log10(values), np.log10(low), np.log10(high)))


def _pixels(axes: Axes, which: int, values: NDArray[Any]) -> NDArray[Any]:
    places = np.zeros((len(values), 2))
    x, y = axes.get_xlim()[0], axes.get_ylim()[0]
    places[:] = x, y
    places[:, which] = values
    return np.asarray(axes.transData.transform(places))[:, which] if len(values) else np.empty(0)


def _log_places(low: float, high: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Ticks with a number, of which there are two or more, and small ticks."""
    for subs in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
        values = _powers_within(subs, 8, low, high)
        if len(values) > 1:
            break
    if high > low * 10.0**_MOST_DECADES:
        return values, np.empty(0)
    return values, _powers_within((2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0), 12, low, high)


def _powers(values: NDArray[Any]) -> list[str]:
    if all(1e-3 <= value < 1e5 for value in values):
        return [f"{value:,.0f}" if value >= 1 else f"{value:g}" for value in values]
    return [_scientific(float(value), 0) for value in values]


def format_numbers(values: Sequence[float]) -> list[str]:
    """Return the numbers of ticks with equally many digits after the point, and with powers of ten where they are long.

    Args:
        values: Ascending, equally far apart.
    """
    if not values:
        return []
    step = min((b - a for a, b in pairwise(values)), default=abs(values[0]) or 1.0)
    values = [0.0 if abs(value) < step * 1e-6 else value for value in values]
    most = max(abs(value) for value in values)
    digits = _digits(step)
    if most >= 1e6 or digits > 5:
        power = 10.0 ** math.floor(math.log10(most))
        return [_scientific(value, _digits(step / power), power) for value in values]
    return [f"{value:,.{digits}f}".replace("-", _MINUS) for value in values]


def _digits(step: float) -> int:
    """How many digits after the point tell multiples of ``step`` apart; at most 12."""
    return next((n for n in range(12) if abs(step * 10**n - round(step * 10**n)) < 1e-3 * step * 10**n), 12)


def _scientific(value: float, digits: int, power: float | None = None) -> str:
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)) if power is None else math.log10(power) + 0.5)
    factor = f"{value / 10.0**exponent:.{digits}f}".replace("-", _MINUS)
    end = "10" + str(exponent).translate(_SUPERSCRIPT)
    return end if factor == "1" and digits == 0 else f"{factor}·{end}"
