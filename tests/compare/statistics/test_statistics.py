"""Intervals, p-values, ranks and required samples, against textbooks and scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from metaexp.compare.statistics.effects import Array, Variance, difference_variances, pairing_gain, summarise
from metaexp.compare.statistics.margins import MeanDifference, Part, Proportion, p_of_zero, quantile
from metaexp.compare.statistics.pairs import LEVEL, Pair, compare_rows, holm
from metaexp.compare.statistics.required_sample import required_sample
from metaexp.core.intervals import student_tails


def rows(n_runs: int, gap: float = 0.02, runs: float = 0.01, n: int = 200, seed: int = 0) -> list[Array]:
    """Two rows (S, E) on the same episodes, ``gap`` apart."""
    generator = np.random.default_rng(seed)
    episodes = 0.1 * generator.standard_normal(n)
    return [
        0.5 + mean + episodes + runs * generator.standard_normal((n_runs, 1))
        + 0.03 * generator.standard_normal(n) + 0.02 * generator.standard_normal((n_runs, n))
        for mean in (gap, 0.0)
    ]  # fmt: skip


def pair_of(first: Array, second: Array, is_accuracy: bool = False) -> Pair:
    (pair,) = compare_rows([first, second], True, is_accuracy).pairs
    return pair


def difference_of(first: Array, second: Array) -> Variance:
    return difference_variances(summarise(first), summarise(second))[0].difference


@pytest.mark.parametrize("is_accuracy", [False, True])
def test_one_run_each_has_the_interval_of_the_paired_t_test_and_no_verdict(is_accuracy: bool) -> None:
    first, second = rows(1, gap=0.003)
    pair = pair_of(first, second, is_accuracy)
    interval = stats.ttest_rel(first[0], second[0]).confidence_interval(0.95)
    assert (pair.difference.low, pair.difference.high) == pytest.approx((interval.low, interval.high), abs=1e-4)
    assert (pair.p, pair.corrected, pair.decision, pair.required_sample) == (None, None, "withheld", None)
    assert not pair.difference.over_seeds
    assert pair_of(first, second - 0.4).decision == "withheld"  # however large the difference


def test_where_only_runs_differ_it_is_welchs_test() -> None:
    """Episodes that are all alike leave the two-sample test of run means."""
    generator = np.random.default_rng(1)
    first, second = (np.repeat(0.5 + 0.1 * generator.standard_normal((4, 1)), 50, axis=1) for _ in range(2))
    pair = pair_of(first, second)
    welch = stats.ttest_ind(first[:, 0], second[:, 0], equal_var=False)
    assert pair.p == pytest.approx(welch.pvalue, rel=1e-4)
    assert stats.ttest_rel(first[0], second[0]).pvalue != pytest.approx(welch.pvalue, rel=0.2)


def test_unequal_numbers_of_runs_take_the_more_careful_of_welchs_and_students_tests() -> None:
    first = np.repeat(np.array([[0.50], [0.5001]]), 50, axis=1)  # close by chance
    second = np.repeat(0.5 + 0.02 * np.array([[-1.5], [-0.5], [0.0], [0.5], [1.5], [2.5]]), 50, axis=1)
    welch = stats.ttest_ind(first[:, 0], second[:, 0], equal_var=False)
    student = stats.ttest_ind(first[:, 0], second[:, 0], equal_var=True)
    assert student.pvalue > welch.pvalue
    assert pair_of(first, second).p == pytest.approx(student.pvalue, rel=1e-4)
    noisy = np.repeat(np.array([[0.3], [0.9]]), 50, axis=1)
    welch = stats.ttest_ind(noisy[:, 0], second[:, 0], equal_var=False)
    assert pair_of(noisy, second).p == pytest.approx(welch.pvalue, rel=1e-4)


def test_the_parts_of_the_variance_are_those_that_were_put_in() -> None:
    found = [difference_of(*rows(3, runs=0.05, seed=seed)) for seed in range(300)]
    assert np.mean([v.over_runs for v in found]) == pytest.approx(2 * (0.05**2 + 0.02**2 / 200) / 3, rel=0.15)
    assert np.mean([v.over_episodes for v in found]) == pytest.approx(2 * 0.03**2 / 200, rel=0.05)


def test_a_row_of_one_run_keeps_the_spread_of_the_other() -> None:
    """Three runs against one: what the three measured is in the interval, and there is no verdict."""
    first, second = rows(3, runs=0.05, gap=0.3)
    known = difference_of(first, second[:1])
    assert known.over_runs == pytest.approx(first.mean(-1).var(ddof=1) / 3)
    pair = pair_of(first, second[:1])
    assert pair.decision == "withheld"
    margin = stats.t.isf(0.025, 2) * math.sqrt(float(known.over_runs))
    assert pair.difference.high is not None
    assert pair.difference.high - pair.difference.mean >= margin
    assert pair_of(first, second).p is not None


def test_many_comparisons_at_once_are_each_what_they_are_alone() -> None:
    many = [rows(3, seed=seed) for seed in range(4)]
    stacked = difference_of(*(np.stack([pair[i] for pair in many]) for i in range(2)))
    alone = [difference_of(*pair) for pair in many]
    for kind in range(3):
        assert stacked[kind] == pytest.approx([float(v[kind]) for v in alone])


def test_few_seeds_leave_few_degrees_of_freedom() -> None:
    assert 2 <= difference_of(*rows(3, runs=1.0)).degrees_of_freedom <= 4.01
    assert 8 <= difference_of(*rows(9, runs=1.0)).degrees_of_freedom <= 16.01


def test_pairing_narrows_by_what_episodes_have_in_common() -> None:
    first, second = rows(1)
    apart = np.sqrt(first[0].var(ddof=1) + second[0].var(ddof=1))
    gain = pair_of(first, second).pairing_gain
    assert gain == pytest.approx(apart / (first[0] - second[0]).std(ddof=1), rel=1e-9)
    assert gain is not None
    assert gain > 1.5
    shuffled = np.random.default_rng(0).permuted(second, axis=1)
    assert pairing_gain(summarise(first), summarise(shuffled)) == pytest.approx(1.0, abs=0.15)


def test_holms_correction() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_rows_that_cannot_be_told_apart_share_a_rank() -> None:
    first, second = rows(3, gap=0.0, runs=0.001)
    worse, worst = second - 0.15, second - 0.3 + 0.001 * np.arange(3)[:, None]
    assert compare_rows([first, second, worse, worst], True, True).places == [(1, 2), (1, 2), (3, 3), (4, 4)]
    assert compare_rows([first, second, worse, worst], False, True).places == [(3, 4), (3, 4), (2, 2), (1, 1)]


def test_rows_of_one_run_have_no_rank_and_leave_the_others_theirs() -> None:
    first, second = rows(3, gap=0.0, runs=0.001)
    found = compare_rows([first, second - 0.15, second[:1] + 0.2], True, True)
    assert found.places == [(1, 1), (2, 2), None]
    assert [pair.decision for pair in found.pairs] == ["different", "withheld", "withheld"]
    assert found.pairs[0].corrected == found.pairs[0].p  # corrected for one pair, not for three
    assert compare_rows([first, second[:1]], True, True).places == [None, None]
    assert compare_rows([row[:1] for row in (first, second, second - 0.3)], True, True).places == [None] * 3


def test_values_without_spread_are_not_certain() -> None:
    """Two episodes, or two hundred, that are all alike: an interval of accuracies, and none of errors."""
    right, wrong = np.ones((2, 2)), np.zeros((2, 2))
    pair = pair_of(right, wrong, True)
    assert pair.p is not None
    assert pair.p > 0.1
    many = pair_of(np.ones((3, 200)), np.zeros((3, 200)), True)
    assert many.p is not None
    assert many.p < 1e-6
    same = pair_of(np.ones((3, 200)), np.ones((3, 200)), True).difference
    assert same.low is not None
    assert same.high is not None
    assert same.low < 0 < same.high
    errors = pair_of(right, wrong)
    assert (errors.p, errors.difference.low, errors.decision) == (None, None, "withheld")
    (alone,) = compare_rows([np.full((3, 9), 0.1 + 0.2)], False, False).estimates
    assert (alone.low, alone.high) == (None, None)


@pytest.mark.parametrize(("n_runs", "n"), [(1, 2), (1, 5), (2, 2), (2, 40), (3, 600)])
@pytest.mark.parametrize("chance", [0.0, 0.01, 0.5, 0.97, 1.0])
def test_no_interval_of_accuracies_passes_its_edges(n_runs: int, n: int, chance: float) -> None:
    generator = np.random.default_rng(n)
    values = [generator.binomial(5, p, size=(n_runs, n)) / 5 for p in (chance, 0.9, 1.0)]
    found = compare_rows(values, True, True)
    for estimate in found.estimates:
        assert estimate.low is not None
        assert estimate.high is not None
        assert 0.0 <= estimate.low <= estimate.mean <= estimate.high <= 1.0
        assert estimate.low < estimate.high
    for pair in found.pairs:
        item = pair.difference
        assert item.low is not None
        assert item.high is not None
        assert -1.0 <= item.low <= item.mean <= item.high <= 1.0
        if pair.p is not None:
            assert (item.low > 0 or item.high < 0) == (pair.p < 0.05)


def test_an_error_is_never_below_zero() -> None:
    values = np.array([[0.0, 0.0, 0.0, 9.0], [0.0, 1.0, 0.0, 0.0]])
    (estimate,) = compare_rows([values], False, False).estimates
    assert estimate.low == 0.0


@pytest.mark.parametrize("centre", [-3.0, 0.0, 3.0])
def test_the_interval_of_a_metric_without_a_least_value_is_around_its_mean(centre: float) -> None:
    values = centre + rows(3)[0]
    (estimate,) = compare_rows([values], True, False, -math.inf).estimates
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.mean - estimate.low == pytest.approx(estimate.high - estimate.mean)
    assert estimate.low < estimate.mean < estimate.high


def test_errors_too_large_to_square_have_no_interval() -> None:
    small, large = np.abs(rows(2)[0]), 1e200 * np.abs(rows(2)[1])
    found = compare_rows([small, large], False, False)
    assert found.estimates[0].low is not None
    assert (found.estimates[1].low, found.pairs[0].decision) == (None, "withheld")
    assert found.places == [(1, 2), (1, 2)]


def test_wilsons_interval_is_that_of_the_textbook() -> None:
    """81 of 263 (Newcombe 1998, Statistics in Medicine 17, 857): 0.2553 to 0.3662."""
    p, n = 81 / 263, 263
    scaled = (1.959964 / quantile(0.05, n - 1.0)) ** 2  # the normal quantile instead of Student's
    part = Part(p * (1 - p) / n * scaled, 0.0, 1.0)
    assert Proportion(p, part, n).interval(0.05) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_the_interval_of_a_difference_excludes_zero_just_below_its_p() -> None:
    one, two = (Proportion(p, Part(p * (1 - p) / 50, 0.0, 1.0), 50) for p in (0.98, 0.8))
    item = MeanDifference(one, two, Part(one.part.over_episodes + two.part.over_episodes, 0.0, 1.0))
    p = p_of_zero(item.interval)
    assert 0.0 < p < 0.05
    assert item.interval(p * 1.01)[0] > 0.0 > item.interval(p * 0.99)[0]


def test_the_p_is_the_largest_where_the_interval_excludes_zero_at_a_tiny_level_once_more() -> None:
    """A difference that varies far less than its two means."""
    one = Proportion(0.823, Part(2.4e-7, 0.0, 20.0), 10)
    two = Proportion(0.192, Part(2.7e-3, 3.4e-3, 1.0), 10)
    item = MeanDifference(one, two, Part(0.0, 3.5e-8, 1.3))
    assert item.interval(1e-50)[0] > 0.0 > item.interval(0.01)[0]
    p = p_of_zero(item.interval)
    assert 0.05 < p < 0.06
    assert item.interval(p * 1.01)[0] > 0.0 > item.interval(p * 0.99)[0]


def test_the_p_is_the_largest_where_the_interval_of_few_episodes_excludes_zero_at_two_levels() -> None:
    one = Proportion(0.7499062808881867, Part(0.00275377878680038, 0.0050164090450742676, 6.0), 3)
    two = Proportion(0.9333333333333332, Part(0.0, 0.003009845427044561, 6.0), 3)
    item = MeanDifference(one, two, Part(0.0, 0.008026254472118828, 6.0))
    assert item.interval(0.06)[1] < 0.0 < item.interval(0.05)[1]
    assert item.interval(0.02)[1] < 0.0
    assert 0.05 < p_of_zero(item.interval) < 0.06


def test_what_is_required_would_show_the_pair_and_much_less_would_not() -> None:
    first, second = rows(3, n=100, seed=3, runs=0.0)
    second = second + (first - second).mean() - 0.006
    pair = pair_of(first, second)
    assert pair.decision == "open"
    assert pair.required_sample is not None
    episodes = pair.required_sample.episodes
    assert episodes is not None
    many = rows(3, gap=0.006, n=episodes, runs=0.0)
    few = rows(3, gap=0.006, n=episodes // 8, runs=0.0)
    found = [
        np.mean([pair_of(*rows(3, gap=0.006, n=n, runs=0.0, seed=seed)).significant for seed in range(40)])
        for n in (many[0].shape[1], few[0].shape[1])
    ]
    assert found[0] > 0.6
    assert found[1] < 0.5


def test_more_seeds_are_recommended_where_episodes_cannot_decide() -> None:
    first, second = rows(3, runs=0.05)
    near, nearer = (pair_of(first, second + (first - second).mean() - gap).required_sample for gap in (0.04, 0.02))
    assert near is not None
    assert nearer is not None
    assert (near.episodes, nearer.episodes) == (None, None)
    assert near.seeds is not None
    assert nearer.seeds is not None
    assert 4 <= near.seeds < nearer.seeds / 2


@pytest.mark.parametrize("gap", [0.0004, 0.004])
def test_runs_that_are_close_by_chance_do_not_make_a_few_more_episodes_enough(gap: float) -> None:
    """Two seeds each, whose means are equal, and 50 noisy episodes: the difference is far below the noise."""
    noise = 0.1 * np.random.default_rng(0).standard_normal((4, 50))
    noise -= noise.mean(1, keepdims=True)
    first, second = 0.5 + gap + noise[:2], 0.5 + noise[2:]
    found = required_sample(summarise(first), summarise(second), LEVEL)
    assert found is not None
    standard_error = math.sqrt(2 * 0.1**2 / 2 / 50)
    least = 50 * (2.8 * standard_error / gap) ** 2
    assert found.episodes is None or found.episodes > least / 3
    assert found.seeds is None or found.seeds > 2 * (2.8 * standard_error / gap) ** 2 / 3
    many = required_sample(summarise(first + 0.3), summarise(second), LEVEL)
    assert many is not None
    assert many.seeds is not None
    assert many.seeds <= 4, "a large difference needs few"


def test_no_sample_shows_no_difference() -> None:
    first, second = rows(3, gap=0.0)
    level = second + (first.mean() - second.mean())
    found = required_sample(summarise(first), summarise(level), LEVEL)
    assert found.episodes is None or abs(first.mean() - level.mean()) > 0


@pytest.mark.parametrize("n_episodes", [2, 50])
def test_without_any_spread_no_sample_is_promised(n_episodes: int) -> None:
    first, second = np.full((2, n_episodes), 1.0), np.full((2, n_episodes), 0.96)
    assert required_sample(summarise(first), summarise(second), LEVEL) is None
    second[0, 0] = 0.9
    assert required_sample(summarise(first), summarise(second), LEVEL) is not None


def test_one_episode_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least two episodes; got 1"):
        summarise(np.zeros((3, 1)))


@pytest.mark.parametrize(("t", "degrees"), [(0.0, 3.0), (1.3, 2.4), (-2.2, 7.9), (4.0, 599.0), (40.0, 3.3)])
def test_students_tails(t: float, degrees: float) -> None:
    assert student_tails(t, degrees) == pytest.approx(2 * stats.t.sf(abs(t), degrees), rel=1e-9)
    assert student_tails(float("inf"), degrees) == 0.0


def test_students_quantile_is_the_inverse_of_the_tails() -> None:
    for p, degrees in itertools.product((0.9, 0.05, 1e-5, 1e-60), (1.0, 1.3, 2.0, 4.7, 30.0, 599.0)):
        assert quantile(p, degrees) == pytest.approx(stats.t.isf(p / 2, degrees), rel=1e-7)
