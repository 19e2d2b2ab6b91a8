"""What is said of the result of a test."""

from __future__ import annotations

import pytest
import torch

from metaexp.core.types import EvalResult
from metaexp.run.evaluation.scores import below_chance


@pytest.mark.parametrize(
    ("mean", "ci95", "n_episodes", "n_way", "is_said"),
    [
        (0.1, 0.02, 100, 5, True),
        (0.18, 0.02, 100, 5, False),  # chance is within twice the interval
        (0.3, 0.02, 100, 5, False),
        (0.3, 0.02, 100, 2, True),
        (0.1, 0.0, 9, 5, False),
        (0.1, 0.02, 100, 0, False),  # an error of regression
    ],
)
def test_an_accuracy_lower_than_that_of_guessing_is_warned_of(
    mean: float, ci95: float, n_episodes: int, n_way: int, is_said: bool
) -> None:
    values = torch.linspace(mean - 0.01, mean + 0.01, n_episodes)
    line = below_chance(EvalResult(mean, ci95, n_episodes, values, values[None]), n_way)
    assert ("is lower than that of guessing" in line) == is_said == bool(line)


@pytest.mark.parametrize(("changed", "is_said"), [(0.0, True), (0.2, False)])
def test_one_class_for_all_queries_is_warned_of(changed: float, is_said: bool) -> None:
    values = torch.full((20,), 0.2)
    values[3] += changed
    line = below_chance(EvalResult(float(values.mean()), 0.0, 20, values, values[None]), 5)
    assert ("all queries get the same class" in line) == is_said == bool(line)
    assert "lower than that of guessing" not in line
