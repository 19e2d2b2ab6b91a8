"""What is known of each metric agrees with what is computed, whichever rows the tables have."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from metaexp.core.metric import (
    OF_CLASSES,
    OF_REGRESSION,
    extra_metric,
    format_metric_name,
    is_hit_rate,
    larger_is_better,
    least_value,
    name_problem,
)

PAGE = Path(__file__).parents[2] / "docs/metrics.md"
CLASSES = [*OF_CLASSES, "top_2", "top_3"]
Y = torch.arange(20) % 5


def scores(share_right: float) -> torch.Tensor:
    """Scores (20, 5) that are sure, and right for the first so many of each class."""
    label = torch.where(torch.arange(20) < 20 * share_right, Y, (Y + 4) % 5)
    return 8.0 * torch.nn.functional.one_hot(label, 5).float() - 0.1 * torch.arange(5)


@pytest.mark.parametrize("name", CLASSES)
def test_a_metric_of_classification_is_better_in_its_direction_where_more_is_right(name: str) -> None:
    good, bad = (float(extra_metric(name, scores(share), Y)) for share in (1.0, 0.25))
    assert good > bad if larger_is_better(name) else good < bad


@pytest.mark.parametrize("name", OF_REGRESSION)
def test_a_metric_of_regression_is_better_in_its_direction_where_outputs_are_nearer(name: str) -> None:
    y = torch.linspace(-1, 1, 10).unsqueeze(-1)
    good, bad = (float(extra_metric(name, y + error, y)) for error in (0.1, -0.5))
    assert good > bad if larger_is_better(name) else good < bad


@pytest.mark.parametrize("name", CLASSES)
def test_a_metric_that_is_shown_in_per_cent_is_1_where_all_is_right(name: str) -> None:
    assert (float(extra_metric(name, scores(1.0), Y)) == 1.0) is is_hit_rate(name)
    if is_hit_rate(name):
        assert float(extra_metric(name, scores(0.0), Y)) < float(extra_metric(name, scores(0.5), Y)) < 1.0


@pytest.mark.parametrize("name", [*OF_CLASSES, *OF_REGRESSION])
def test_each_metric_has_words_and_a_place_on_the_page_and_belongs_to_one_kind_of_task(name: str) -> None:
    assert format_metric_name(name) not in ("", name)
    assert f"* `{name}`" in PAGE.read_text(encoding="utf-8")
    assert bool(name_problem(name, 5)) is (name in OF_REGRESSION)
    assert bool(name_problem(name, 0)) is (name in OF_CLASSES)


def test_a_class_without_queries_is_neither_the_worst_nor_part_of_the_mean() -> None:
    """As in episodes with given queries. The predictions name it, too."""
    y = torch.tensor([0, 0, 0, 0, 1, 1])
    label = torch.tensor([0, 0, 0, 2, 1, 2])
    found = torch.nn.functional.one_hot(label, 3).float()
    assert extra_metric("worst_class", found, y) == 0.5
    assert extra_metric("per_class", found, y) == (0.75 + 0.5) / 2
    assert (label == y).float().mean() != (0.75 + 0.5) / 2  # nor is it the accuracy


def test_metrics_map_over_tasks_as_over_one_after_another() -> None:
    both = torch.stack([scores(0.75), scores(0.25)])
    for name in CLASSES:
        mapped = torch.func.vmap(lambda s, name=name: extra_metric(name, s, Y))(both)
        torch.testing.assert_close(mapped, torch.stack([extra_metric(name, one, Y) for one in both]))
        assert mapped[0] != mapped[1]


@pytest.mark.parametrize("name", ["accuracy", "mse", *CLASSES, *OF_REGRESSION])
def test_only_a_metric_of_your_own_has_no_least_value(name: str) -> None:
    assert least_value(name) == 0.0
    assert least_value(f"my_code.measures.{name}") == -math.inf
