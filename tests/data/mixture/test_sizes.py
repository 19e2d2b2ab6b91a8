"""Ways, shots and queries of episodes, by the rule of Meta-Dataset."""

from __future__ import annotations

import random

import pytest

from metaexp.core.shapes import TaskShape
from metaexp.data.mixture.sizes import Draw, Sampling, n_ways, sizes_of

META_DATASET = TaskShape(50, 100, 10)
VARIED = Sampling(least_ways=5, varied_shots=True)


def drawn(seed: int) -> Draw:
    """Random numbers that are the same for the same name and number."""

    def draw(what: str, number: int, high: int) -> int:
        return random.Random(f"{seed} {what} {number}").randrange(high)

    return draw


def always(values: dict[str, float]) -> Draw:
    """Each number at a given place of its range, from 0 to 1."""

    def draw(what: str, number: int, high: int) -> int:
        return min(int(values[what] * high), high - 1)

    return draw


def test_ways_are_uniform_from_the_least_to_the_most() -> None:
    found = [n_ways(VARIED, META_DATASET, 200, drawn(seed)) for seed in range(2000)]
    assert set(found) == set(range(5, 51))
    assert abs(sum(found) / len(found) - 27.5) < 1.0


def test_a_domain_with_few_classes_has_at_most_these() -> None:
    assert {n_ways(VARIED, META_DATASET, 8, drawn(seed)) for seed in range(200)} == {5, 6, 7, 8}
    assert {n_ways(VARIED, META_DATASET, 5, drawn(seed)) for seed in range(20)} == {5}


def test_without_varied_ways_they_are_those_of_the_task() -> None:
    assert n_ways(Sampling(varied_shots=True), META_DATASET, 8, drawn(0)) == 50


def test_the_limits_of_the_rule_hold_for_any_sizes_of_classes() -> None:
    for seed in range(500):
        images = [random.Random(seed * 100 + i).randrange(2, 700) for i in range(5 + seed % 30)]
        shots, queries = sizes_of(VARIED, META_DATASET, images, drawn(seed))
        assert len(set(queries)) == 1
        assert queries[0] == max(1, min(10, min(images) // 2))
        assert all(1 <= k <= n - queries[0] for k, n in zip(shots, images, strict=True))
        assert sum(shots) <= 500


def test_shots_are_those_of_the_paper_in_a_case_computed_by_hand() -> None:
    # 4 classes of 100 images: q = 10; beta = 1/2: support of 4 * ceil(90 / 2) = 180, of which 4 are given out first.
    # Equal weights: 176 / 4 + 1 = 45 of each.
    even = always({"beta": 0.5 - 2**-20, "weights": 0.5})
    assert sizes_of(VARIED, META_DATASET, [100] * 4, even) == ((45,) * 4, (10,) * 4)


def test_beta_near_zero_gives_one_shot_and_one_gives_all() -> None:
    smallest = sizes_of(VARIED, META_DATASET, [20] * 5, always({"beta": 0.0, "weights": 0.5}))
    assert smallest == ((1,) * 5, (10,) * 5)
    largest = sizes_of(VARIED, META_DATASET, [20] * 5, always({"beta": 1.0, "weights": 0.5}))
    assert largest.shots == (10,) * 5


def test_shots_differ_between_classes_by_at_most_the_factor_of_the_paper() -> None:
    found = [sizes_of(VARIED, META_DATASET, [400] * 5, drawn(seed)).shots for seed in range(300)]
    assert any(len(set(shots)) > 1 for shots in found)
    assert all(max(shots) - 1 <= 4 * min(shots) for shots in found)
    larger = [sizes_of(VARIED, META_DATASET, [100, 400], drawn(seed)).shots for seed in range(300)]
    assert sum(second for _, second in larger) > 2 * sum(first for first, _ in larger)


def test_the_largest_support_set_is_kept_to() -> None:
    little = VARIED._replace(most_support=40)
    assert max(sum(sizes_of(little, META_DATASET, [600] * 20, drawn(seed)).shots) for seed in range(200)) <= 40


def test_queries_are_unequal_where_that_is_asked_for() -> None:
    unequal = VARIED._replace(unequal_queries=True)
    found = [sizes_of(unequal, META_DATASET, [20] * 5, drawn(seed)).queries for seed in range(200)]
    assert {q for queries in found for q in queries} == set(range(1, 11))
    assert any(len(set(queries)) > 1 for queries in found)


@pytest.mark.parametrize("images", [[20] * 5, [7, 600, 30]])
def test_fixed_shots_are_those_of_the_task(images: list[int]) -> None:
    assert sizes_of(Sampling(least_ways=3), TaskShape(5, 2, 3), images, drawn(0)) == (
        (2,) * len(images),
        (3,) * len(images),
    )
