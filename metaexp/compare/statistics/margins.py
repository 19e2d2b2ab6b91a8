"""Intervals and p-values from variances, which respect that an accuracy lies between 0 and 1.

The squared margin of a mean at a level is (Banerjee, Sankhya 23, 1961)

    t(E - 1)^2 * over_episodes + t(degrees of freedom)^2 * over_runs,

each part with Student's quantile for its own number of samples. The interval then holds the truth at least as often as
it says, whichever part is the larger. One quantile for the sum, with degrees of freedom that are estimated too
(Satterthwaite's), says too much where two or three runs happen to be close to each other.

An accuracy has Wilson's interval (JASA 22, 1927), with as many trials as give the measured standard error; a
difference of accuracies combines those of its rows (Newcombe, Statistics in Medicine 17, 1998, method 10, with the
measured correlation). In the middle of the range both are value plus and minus margin; at the edges they stay inside.
Episodes that are all alike have no measured spread: each then counts as one trial, the widest that it can be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

from metaexp.core.intervals import student_tails

_SMALLEST = 1e-100
"""P-values below this are given as 0."""
_LEVELS = (
    0.7, 0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 1e-3, 1e-4, 1e-6, 1e-8, 1e-12, 1e-16, 1e-32, 1e-64, _SMALLEST,
)  # fmt: skip
"""Between two of them, an interval is taken to exclude 0 down to one level. Of six episodes or fewer, some do not."""


class Part(NamedTuple):
    """A :class:`~metaexp.compare.statistics.effects.Variance` of one comparison, as numbers."""

    over_episodes: float
    over_runs: float
    degrees_of_freedom: float

    @property
    def is_known(self) -> bool:
        """Whether any spread was measured."""
        return self.over_episodes + self.over_runs > 0.0

    def squared_margin(self, p: float, n_episodes: int) -> float:
        """Return the squared margin of the interval that holds the truth with probability 1 - ``p``.

        Args:
            p: The probability that the interval misses the truth, in (0, 1).
            n_episodes: Episodes of the mean.
        """
        margin = quantile(p, n_episodes - 1.0) ** 2 * self.over_episodes if self.over_episodes else 0.0
        return margin + (quantile(p, self.degrees_of_freedom) ** 2 * self.over_runs if self.over_runs else 0.0)


class Proportion(NamedTuple):
    """A mean in [0, 1].

    Attributes:
        mean: Its value.
        part: Its variance.
        n_episodes: E.
    """

    mean: float
    part: Part
    n_episodes: int

    def interval(self, p: float) -> tuple[float, float]:
        """Return Wilson's interval at level ``p``."""
        squared, edge = self.part.squared_margin(p, self.n_episodes), self.mean * (1.0 - self.mean)
        if squared <= 0.0 or edge <= 0.0:  # no spread: every episode is one trial
            shift = quantile(p, self.n_episodes - 1.0) ** 2 / self.n_episodes
            squared = shift * max(edge, 0.0)
        else:
            shift = squared / edge
        half = math.hypot(math.sqrt(squared), shift / 2.0)
        low, high = ((self.mean + shift / 2.0 + sign * half) / (1.0 + shift) for sign in (-1.0, 1.0))
        return max(0.0, min(low, self.mean)), min(1.0, max(high, self.mean))


class MeanDifference(NamedTuple):
    """The difference of two means in [0, 1].

    Attributes:
        first: A mean.
        second: The mean that is taken off.
        part: The variance of the difference.
    """

    first: Proportion
    second: Proportion
    part: Part

    def interval(self, p: float) -> tuple[float, float]:
        """Return Newcombe's interval at level ``p``."""
        value = self.first.mean - self.second.mean
        (low_1, high_1), (low_2, high_2) = self.first.interval(p), self.second.interval(p)
        shared = self._correlation(p)
        below = _hypotenuse(self.first.mean - low_1, high_2 - self.second.mean, shared)
        above = _hypotenuse(high_1 - self.first.mean, self.second.mean - low_2, shared)
        return max(-1.0, value - below), min(1.0, value + above)

    def _correlation(self, p: float) -> float:
        n_episodes = self.first.n_episodes
        one = self.first.part.squared_margin(p, n_episodes)
        two = self.second.part.squared_margin(p, n_episodes)
        both = self.part.squared_margin(p, n_episodes)
        if min(one, two, both) <= 0.0:  # there is no spread to measure a correlation with
            return 0.0
        return max(-1.0, min(1.0, (one + two - both) / (2.0 * math.sqrt(one) * math.sqrt(two))))


def _hypotenuse(a: float, b: float, correlation: float) -> float:
    return math.sqrt(max(a * a + b * b - 2.0 * correlation * a * b, 0.0))


def p_of_zero(interval: Callable[[float], tuple[float, float]]) -> float:
    """Return the two-sided p-value of no difference: the largest ``p`` whose interval just excludes 0.

    Where the two means and their difference have very unlike spreads, the interval can exclude 0 once more at a tiny
    ``p``. So levels are tried from the largest on.

    Args:
        interval: Level -> interval.
    """
    low, high = interval(1.0 - 1e-9)
    sign = 1.0 if low > 0.0 else -1.0
    value = low if low > 0.0 else -high
    if value <= 0.0:
        return 1.0

    def excess(log_z: float) -> float:
        """The half of the interval towards 0, divided by the value, as a logarithm: almost a line."""
        half = value - _end(interval(_p_of_normal(log_z)), sign)
        return math.log(max(half, _SMALLEST * value) / value)

    nearer = (-20.0, excess(-20.0))
    for p in _LEVELS:
        log_z = math.log(-NormalDist().inv_cdf(0.5 * p))
        farther = (log_z, excess(log_z))
        if farther[1] >= 0.0:
            return _p_of_normal(_root(excess, nearer, farther))
        nearer = farther
    return 0.0


def _end(interval: tuple[float, float], sign: float) -> float:
    """The end of an interval towards 0, for a positive value (``sign`` 1) or a negative one, mirrored."""
    return interval[0] if sign > 0.0 else -interval[1]


def _p_of_normal(log_z: float) -> float:
    """P(abs(Z) >= z) of a standard normal variable Z."""
    return math.erfc(math.exp(log_z) / math.sqrt(2.0))


def _root(function: Callable[[float], float], left: tuple[float, float], right: tuple[float, float]) -> float:
    """Where an increasing function is 0 between two points of it: Illinois method, a bisection in every third step."""
    (low, at_low), (high, at_high), side = left, right, 0
    for number in range(200):
        line = high - at_high * (high - low) / (at_high - at_low)
        middle = 0.5 * (low + high) if number % 3 == 2 else line
        value = function(middle)
        if abs(value) < 1e-13 or high - low < 1e-13:
            return middle
        if value < 0.0:
            low, at_low, at_high, side = middle, value, at_high * (0.5 if side < 0 else 1.0), -1
        else:
            high, at_high, at_low, side = middle, value, at_low * (0.5 if side > 0 else 1.0), 1
    return 0.5 * (low + high)


@lru_cache(maxsize=4096)
def quantile(p: float, degrees_of_freedom: float) -> float:
    """Return the t with P(abs(T) >= t) = ``p`` for a Student-t variable T.

    Newton's method in a bracket of logarithms, from the approximation of Wallace (Ann. Math. Stat. 30, 1959).
    """
    low, high = -40.0, 700.0
    x, target = _near_quantile(p, degrees_of_freedom), math.log(p)
    front = (
        math.lgamma(0.5 * (degrees_of_freedom + 1.0)) - math.lgamma(0.5 * degrees_of_freedom)
        - 0.5 * math.log(degrees_of_freedom * math.pi)
    )  # fmt: skip
    for _ in range(200):
        t = math.exp(x)
        tails = student_tails(t, degrees_of_freedom)
        error = (math.log(tails) if tails > 0.0 else -math.inf) - target
        low, high = (x, high) if error > 0.0 else (low, x)
        step = 0.5 * (low + high)
        if tails > 0.0:
            density = 2.0 * math.exp(front - 0.5 * (degrees_of_freedom + 1.0) * math.log1p(t * t / degrees_of_freedom))
            slope = density * t / tails
            newton = x + error / slope if slope > 0.0 else step
            if abs(newton - x) < 1e-12:
                return math.exp(newton)
            step = newton if low < newton < high else step
        if abs(step - x) < 1e-13:
            return math.exp(step)
        x = step
    return math.exp(x)


def _near_quantile(p: float, degrees_of_freedom: float) -> float:
    """The logarithm of the quantile, roughly."""
    z = -NormalDist().inv_cdf(0.5 * p) * (8.0 * degrees_of_freedom + 3.0) / (8.0 * degrees_of_freedom + 1.0)
    squared = degrees_of_freedom * math.expm1(min(z * z / degrees_of_freedom, 700.0))
    return max(-39.0, 0.5 * math.log(max(squared, 1e-300)))
