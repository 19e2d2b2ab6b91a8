"""Intervals against numpy and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from metaexp.core.intervals import mean_interval, student_quantile, student_tails

VALUES = np.random.default_rng(3).integers(0, 16, size=600) / 15


def test_the_normal_interval_is_the_one_of_mamls_code() -> None:
    mean, ci95 = mean_interval(VALUES.tolist())
    assert mean == pytest.approx(np.mean(VALUES), rel=1e-15)
    assert ci95 == pytest.approx(1.96 * np.std(VALUES) / np.sqrt(600), rel=1e-13)


def test_the_student_interval_is_the_one_of_relation_networks_code() -> None:
    _, ci95 = mean_interval(VALUES.tolist(), "student")
    assert ci95 == pytest.approx(stats.sem(VALUES) * stats.t.ppf(0.975, 599), rel=1e-12)
    assert ci95 != mean_interval(VALUES.tolist(), "normal").ci95


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 10, 29, 99, 599, 9999])
@pytest.mark.parametrize("probability", [0.9, 0.975, 0.995])
def test_students_quantiles_equal_scipys(degrees: int, probability: float) -> None:
    assert student_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), rel=1e-10)


def test_the_order_of_episodes_changes_no_bit() -> None:
    shuffled = np.random.default_rng(0).permutation(VALUES)
    assert mean_interval(shuffled.tolist()) == mean_interval(VALUES.tolist())


def test_one_episode_alone_tells_nothing_about_the_spread() -> None:
    assert mean_interval([0.5]) == (0.5, 0.0)
    assert mean_interval([0.5], "student") == (0.5, math.inf)


def test_no_episodes_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def test_ninety_five_of_a_hundred_intervals_hold_the_truth() -> None:
    draws = np.random.default_rng(1).normal(0.3, 1.0, size=(4000, 8))
    hits = [abs(mean - 0.3) <= ci95 for mean, ci95 in (mean_interval(row.tolist(), "student") for row in draws)]
    assert 0.94 <= np.mean(hits) <= 0.96


@pytest.mark.parametrize("degrees", [1.0, 2.5, 30.0])
@pytest.mark.parametrize("t", [0.0, 0.3, -2.0, 40.0])
def test_students_tails_equal_scipys(degrees: float, t: float) -> None:
    assert student_tails(t, degrees) == pytest.approx(2 * stats.t.sf(abs(t), degrees), rel=1e-9, abs=1e-14)
    assert student_tails(2.0, degrees) != pytest.approx(2 * stats.t.sf(2.1, degrees), rel=1e-3)


def test_no_probability_is_left_beyond_infinity() -> None:
    assert student_tails(math.inf, 3.0) == 0.0
