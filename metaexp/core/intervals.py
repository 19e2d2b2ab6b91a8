"""Mean and 95 % interval of a metric over test episodes, as the papers compute them. Without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple

IntervalMethod = Literal["normal", "student"]
"""normal: 1.96 * std(ddof=0) / sqrt(n), as MAML's code does. student: t(0.975, n - 1) * std(ddof=1) / sqrt(n), as
Relation Network's code does. For 600 episodes they differ by 0.3 %."""


class Interval(NamedTuple):
    """A mean and the half-width of its 95 % interval."""

    mean: float
    ci95: float


def mean_interval(values: Sequence[float], method: IntervalMethod = "normal") -> Interval:
    """Mean and interval of values that are taken as independent.

    Sums are exact, so the order of the values cannot change a bit.

    Args:
        values: n numbers, at least one.
        method: how the interval is computed. One value alone has an interval of 0 under "normal", because its
            standard deviation is 0. Under "student" its interval is infinite.

    Returns:
        The mean and its interval.

    Raises:
        ValueError: There are no values.
    """
    n = len(values)
    if n == 0:
        raise ValueError("the interval of no values is not defined")
    mean = math.fsum(values) / n
    squares = math.fsum((value - mean) ** 2 for value in values)
    if method == "normal":
        return Interval(mean, 1.96 * math.sqrt(squares / n) / math.sqrt(n))
    if n == 1:
        return Interval(mean, math.inf)
    return Interval(mean, student_quantile(0.975, n - 1) * math.sqrt(squares / (n - 1)) / math.sqrt(n))


@cache
def student_quantile(probability: float, degrees_of_freedom: float) -> float:
    """The value below which a Student-t variable with ``degrees_of_freedom`` lies with ``probability`` in (0.5, 1).

    The distribution function is monotone, so bisection finds it to the last bits of a float64.
    """
    low, high = 0.0, 1.0
    while _student_cdf(high, degrees_of_freedom) < probability:
        high *= 2.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if _student_cdf(middle, degrees_of_freedom) < probability else (low, middle)
    return high


def student_tails(t: float, degrees_of_freedom: float) -> float:
    """P(abs(T) >= abs(t)) of a Student-t variable T with ``degrees_of_freedom``, which need not be whole.

    Args:
        t: The value; only its size counts.
        degrees_of_freedom: Degrees of freedom, above 0.
    """
    if math.isinf(t):
        return 0.0
    return _incomplete_beta(0.5 * degrees_of_freedom, 0.5, degrees_of_freedom / (degrees_of_freedom + t * t))


def _student_cdf(t: float, degrees_of_freedom: float) -> float:
    """P(T <= t) for t >= 0, from the regularised incomplete beta function (Abramowitz & Stegun 26.7.1)."""
    return 1.0 - 0.5 * _incomplete_beta(
        0.5 * degrees_of_freedom, 0.5, degrees_of_freedom / (degrees_of_freedom + t * t)
    )


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b), by its continued fraction on the side where that converges fast."""
    if x <= 0.0 or x >= 1.0:
        return min(max(x, 0.0), 1.0)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    front = math.exp(log_front)
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, 1.0 - x) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (Abramowitz & Stegun 26.5.8), by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    value = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for term in (even, odd):
            d = 1.0 + term * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + term / c
            c = c if abs(c) > tiny else tiny
            value *= d * c
        if abs(d * c - 1.0) < 1e-16:
            break
    return value
