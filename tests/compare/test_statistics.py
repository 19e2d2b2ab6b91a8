"""Intervals, p-values, ranks and needs, against textbooks and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from metaexp.compare.statistics.effects import Array, effect, standard_errors, summarise, unpaired_variance
from metaexp.compare.statistics.pairs import LEVEL, holm, judge, needs
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


def test_one_run_each_is_the_paired_t_test() -> None:
    first, second = rows(1, gap=0.003)
    (pair,) = judge([first, second], True).pairs
    paired = stats.ttest_rel(first[0], second[0])
    interval = paired.confidence_interval(0.95)
    assert pair.p == pytest.approx(paired.pvalue, rel=0.1)
    assert (pair.difference.low, pair.difference.high) == pytest.approx((interval.low, interval.high), abs=1e-4)
    assert stats.ttest_ind(first[0], second[0]).pvalue > 2 * paired.pvalue
    assert not pair.difference.over_seeds


def test_where_only_runs_differ_it_is_welchs_test() -> None:
    """Episodes that are all alike leave the two-sample test of run means."""
    generator = np.random.default_rng(1)
    first, second = (np.repeat(0.5 + 0.1 * generator.standard_normal((4, 1)), 50, axis=1) for _ in range(2))
    (pair,) = judge([first, second], True).pairs
    welch = stats.ttest_ind(first[:, 0], second[:, 0], equal_var=False)
    assert pair.p == pytest.approx(welch.pvalue, rel=0.05)
    assert stats.ttest_rel(first[0], second[0]).pvalue != pytest.approx(welch.pvalue, rel=0.2)


@pytest.mark.parametrize("n_runs", [1, 2, 3, 5])
def test_the_bootstrap_has_the_variance_of_the_model(n_runs: int) -> None:
    first, second = map(summarise, rows(n_runs, runs=0.05))
    pair = effect(first, second)
    (error,) = standard_errors([pair])
    assert float(error) ** 2 == pytest.approx(float(pair.over_episodes + pair.over_runs), rel=0.05)
    if n_runs > 1:
        assert float(error) ** 2 > 1.5 * float(pair.over_episodes)


def test_the_parts_of_the_variance_are_those_that_were_put_in() -> None:
    found = [effect(*map(summarise, rows(3, runs=0.05, seed=seed))) for seed in range(300)]
    assert np.mean([e.over_runs for e in found]) == pytest.approx(2 * 0.05**2 / 3, rel=0.15)
    assert np.mean([e.over_episodes for e in found]) == pytest.approx((2 * 0.03**2 + 2 * 0.02**2 / 3) / 200, rel=0.05)


def test_many_comparisons_at_once_are_each_what_they_are_alone() -> None:
    many = [rows(3, seed=seed) for seed in range(4)]
    stacked = effect(*(summarise(np.stack([pair[i] for pair in many])) for i in range(2)))
    alone = [effect(*map(summarise, pair)) for pair in many]
    assert stacked.value == pytest.approx([float(e.value) for e in alone])
    assert stacked.freedom == pytest.approx([float(e.freedom) for e in alone])
    (errors,) = standard_errors([stacked])
    assert errors == pytest.approx([float(standard_errors([e])[0]) for e in alone], rel=0.05)


def test_few_seeds_that_differ_leave_few_degrees_of_freedom() -> None:
    assert 2 <= effect(*map(summarise, rows(3, runs=1.0))).freedom <= 4.01
    assert effect(*map(summarise, rows(3, runs=0.0))).freedom > 20


def test_pairing_narrows_by_what_episodes_have_in_common() -> None:
    (pair,) = judge(rows(1), True).pairs
    first, second = rows(1)
    apart = np.sqrt(first[0].var(ddof=1) + second[0].var(ddof=1))
    assert pair.narrower == pytest.approx(apart / (first[0] - second[0]).std(ddof=1), rel=1e-9)
    assert pair.narrower > 1.5
    shuffled = [first, np.random.default_rng(0).permuted(second, axis=1)]
    assert judge(shuffled, True).pairs[0].narrower == pytest.approx(1.0, abs=0.15)
    one, two = summarise(first), summarise(second)
    assert unpaired_variance(one, two, effect(one, two)) == pytest.approx(apart**2 / 200)


def test_holms_correction() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_rows_that_cannot_be_told_apart_share_a_rank() -> None:
    first, second = rows(3, gap=0.0)
    worse, worst = second - 0.3, second - 0.6 + 0.001 * np.arange(3)[:, None]
    assert judge([first, second, worse, worst], True).ranks == [1, 1, 3, 4]
    assert judge([first, second, worse, worst], False).ranks == [3, 3, 2, 1]


def test_equal_rows_have_no_difference_and_no_width() -> None:
    first, _ = rows(1)
    (pair,) = judge([first, first], True).pairs
    assert (pair.p, pair.difference.low, pair.difference.high, pair.narrower) == (1.0, 0.0, 0.0, None)
    (shifted,) = judge([first, first - 0.25], True, draws=100).pairs
    assert shifted.p < 1e-12


def test_what_is_needed_would_settle_the_pair_and_much_less_would_not() -> None:
    first, second = rows(1, n=100, seed=3)
    second = second + (first - second).mean() - 0.004
    pair = judge([first, second], True).pairs[0]
    assert not pair.significant
    assert pair.needs is not None
    assert pair.needs.episodes is not None
    assert pair.needs.seeds is None
    spread = float((first - second).std(ddof=1))
    distance = abs(pair.difference.mean)

    def power(n: int) -> float:
        return float(stats.norm.cdf(distance / (spread / np.sqrt(n)) - 1.98))

    assert power(pair.needs.episodes) == pytest.approx(0.8, abs=0.02)
    assert power(pair.needs.episodes // 3) < 0.5


def test_seeds_are_asked_for_where_only_they_can_settle_it() -> None:
    first, second = rows(3, runs=0.05)
    near, nearer = (judge([first, second + (first - second).mean() - gap], True).pairs[0].needs for gap in (0.04, 0.02))
    assert near is not None
    assert nearer is not None
    assert (near.episodes, nearer.episodes) == (None, None)
    assert near.seeds is not None
    assert nearer.seeds is not None
    assert 4 <= near.seeds < nearer.seeds / 2


def test_no_difference_cannot_be_settled() -> None:
    first, second = rows(3, gap=0.0)
    level = second + (first.mean() - second.mean())
    found = needs(effect(summarise(first), summarise(level)), LEVEL)
    assert (found.episodes, found.seeds) == (None, None)


def test_one_episode_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least two episodes; got 1"):
        summarise(np.zeros((3, 1)))


@pytest.mark.parametrize(("t", "freedom"), [(0.0, 3.0), (1.3, 2.4), (-2.2, 7.9), (4.0, 599.0), (40.0, 3.3)])
def test_students_tails(t: float, freedom: float) -> None:
    assert student_tails(t, freedom) == pytest.approx(2 * stats.t.sf(abs(t), freedom), rel=1e-9)
    assert student_tails(float("inf"), freedom) == 0.0
