"""Small training tasks are made for several steps together, and are those that are made one step at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode
from metaexp.data.ahead import TasksAhead
from metaexp.data.base import SourceOver, TaskSource
from metaexp.data.sinusoid import Sinusoid

SHAPE = TaskShape(n_way=0, k_shot=5, n_query=3)


class Counting(SourceOver):
    """Counts how many tasks it is asked for at a time."""

    def __init__(self, source: TaskSource) -> None:
        super().__init__(source)
        self.asked: list[int] = []

    def episodes(self, split: Any, indices: Tensor) -> Episode:
        self.asked.append(len(indices))
        return self._source.episodes(split, indices)


def sinusoids(tmp_path: Any) -> Counting:
    family = Sinusoid([0.1, 5.0], [0.0, 3.0], [-5.0, 5.0]).load(tmp_path, print)
    return Counting(family.tasks(SHAPE, 3))


def equal(a: Episode, b: Episode) -> bool:
    return all(torch.equal(x, y) for one, two in zip(a, b, strict=True) for x, y in zip(one[:2], two[:2], strict=True))


def step(number: int, tasks: int = 4) -> Tensor:
    return torch.arange(number * tasks, (number + 1) * tasks)


def test_consecutive_steps_have_the_same_tasks_and_ask_for_them_once_in_sixteen(tmp_path: Any) -> None:
    source, plain = sinusoids(tmp_path), sinusoids(tmp_path)
    ahead = TasksAhead(source)
    for number in range(32):
        assert equal(ahead.episodes("train", step(number)), plain.episodes("train", step(number)))
    assert source.asked == [4, 64, 4, 64]


@pytest.mark.parametrize(
    "wanted",
    [
        [step(5), step(2), step(40), step(5)],  # a run that goes on elsewhere
        [torch.tensor([1, 0, 2, 3]), torch.tensor([7, 9]), torch.tensor([0, 1, 1, 2]), torch.tensor([3])],
        [torch.arange(2, 4), torch.arange(6, 8), torch.arange(10, 12)],  # a rank's share
        [torch.arange(0), step(0, 3), step(1, 5)],
    ],
)
def test_so_have_steps_in_any_order_and_shares_of_steps(tmp_path: Any, wanted: list[Tensor]) -> None:
    ahead, plain = TasksAhead(sinusoids(tmp_path)), sinusoids(tmp_path)
    for indices in wanted:
        assert equal(ahead.episodes("train", indices), plain.episodes("train", indices))


def test_what_is_given_is_the_callers_own_and_begins_where_a_new_tensor_does(tmp_path: Any) -> None:
    ahead, plain = TasksAhead(sinusoids(tmp_path)), sinusoids(tmp_path)
    for number in range(3):
        given = ahead.episodes("train", step(number, 3))
        assert given.support.x.storage_offset() == 0
        given.support.x.zero_()
        given.query.y.zero_()
    assert equal(ahead.episodes("train", step(1, 3)), plain.episodes("train", step(1, 3)))


def test_large_tasks_and_those_of_other_splits_are_made_when_they_are_asked_for(tmp_path: Any) -> None:
    source = sinusoids(tmp_path)
    ahead = TasksAhead(source)
    for _ in range(2):
        ahead.episodes("val", step(0))
        ahead.episodes("train", step(0, 20_000))
    assert source.asked == [4, 20_000, 4, 20_000]
