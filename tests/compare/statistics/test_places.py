"""Ranks of rows that are measured with unequal precision read downwards, and claim nothing that the tests do not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from metaexp.compare.statistics.effects import Array
from metaexp.compare.statistics.pairs import Places, compare_rows, rank_places


def unequal_rows() -> list[Array]:
    """Two rows that seeds hardly move, and a third, lower one that they move much."""
    generator = np.random.default_rng(0)
    first = generator.uniform(0.6, 0.9, (1, 200)) + generator.normal(0, 0.002, (4, 200))
    moved = np.array([-0.2, 0.2, -0.1, 0.1])[:, None]
    return [first, first - 0.03, 0.5 * first + 0.3 + moved - 0.02]


def plain_places(n: int, wins: list[tuple[int, int]]) -> list[Places]:
    """The places that the tests leave, without regard to the order of the rows."""
    return [
        (1 + sum(row == worse for _, worse in wins), n - sum(row == better for better, _ in wins)) for row in range(n)
    ]


def reads_downwards(places: list[Places]) -> bool:
    return all(a[0] <= b[0] and a[1] <= b[1] for a, b in itertools.pairwise(places))


def test_an_imprecise_row_below_does_not_have_a_better_rank_than_the_rows_above_it() -> None:
    values = unequal_rows()
    means = [float(row.mean()) for row in values]
    assert means == sorted(means, reverse=True)
    found = compare_rows(values, True, True)
    wins = [(pair.first, pair.second) for pair in found.pairs if pair.significant]
    assert wins == [(0, 1)]
    assert plain_places(3, wins) == [(1, 2), (2, 3), (1, 3)], "the third row would be placed above the second"
    assert not reads_downwards(plain_places(3, wins))
    assert found.places == [(1, 2), (1, 3), (1, 3)]


@pytest.mark.parametrize("larger_is_better", [True, False])
def test_ranks_of_any_table_read_downwards_and_hold_all_places_that_the_tests_leave(larger_is_better: bool) -> None:
    generator = np.random.default_rng(1)
    changed = 0
    for _ in range(400):
        n = int(generator.integers(1, 9))
        means = np.sort(generator.integers(0, 6, n) / 5)[:: -1 if larger_is_better else 1].tolist()
        wins = [
            (i, j) for i, j in itertools.combinations(range(n), 2) if means[i] != means[j] and generator.random() < 0.5
        ]
        plain, found = plain_places(n, wins), rank_places(means, wins, larger_is_better)
        assert reads_downwards(found)
        assert all(own[0] <= left[0] and own[1] >= left[1] for own, left in zip(found, plain, strict=True))
        assert all(1 <= own[0] <= place <= own[1] <= n for place, own in enumerate(found, 1))
        equal = itertools.combinations(range(n), 2)
        assert all(found[i] == found[j] for i, j in equal if means[i] == means[j]), "rows in any order between equals"
        if reads_downwards(plain) and len(set(means)) == n:
            assert found == plain, "nothing is widened without need"
        changed += found != plain
    assert changed > 20


def test_ranks_of_measured_rows_read_downwards_in_the_order_of_their_means() -> None:
    generator, seen = np.random.default_rng(2), 0
    for _ in range(40):
        base = generator.uniform(0.5, 1.0, (1, 60))
        values = [
            base - generator.uniform(0, 0.3) + generator.normal(0, generator.choice([0.001, 0.2]), (3, 1))
            + generator.normal(0, 0.01, (3, 60))
            for _ in range(5)
        ]  # fmt: skip
        values.sort(key=lambda row: row.mean())
        found = compare_rows(values, False, False)
        places = [own for own in found.places if own is not None]
        assert len(places) == 5
        assert reads_downwards(places)
        wins = [
            (pair.first, pair.second) if pair.difference.mean < 0 else (pair.second, pair.first)
            for pair in found.pairs if pair.significant
        ]  # fmt: skip
        seen += not reads_downwards(plain_places(5, wins))
    assert seen > 0, "no table in which the order mattered"


def test_errors_that_overflow_leave_ranks() -> None:
    assert rank_places([1.0, float("inf"), float("inf")], [], False) == [(1, 3)] * 3
