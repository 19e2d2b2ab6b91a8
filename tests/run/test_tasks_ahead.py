"""Small training tasks are made for several steps together, and are those that are made one step at a time."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode
from metaexp.data.base import SourceOver, TaskSource
from metaexp.data.curves import Curves
from metaexp.data.sinusoid import Sinusoid
from metaexp.machine.single_rank import SINGLE, Ranks
from metaexp.run.build import make_step, set_up
from metaexp.run.tasks_ahead import TasksAhead

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


def test_consecutive_steps_have_the_same_tasks_and_ask_for_them_once_in_64(tmp_path: Any) -> None:
    source, plain = sinusoids(tmp_path), sinusoids(tmp_path)
    ahead = TasksAhead(source, 4 * 140)
    for number in range(140):
        assert equal(ahead.episodes("train", step(number)), plain.episodes("train", step(number)))
    assert source.asked == [4, 256, 256, 44]  # the first step alone, and none after the last


def test_a_training_of_one_step_makes_its_own_tasks_alone(tmp_path: Any) -> None:
    source = sinusoids(tmp_path)
    TasksAhead(source, 1_000).episodes("train", step(0))
    assert source.asked == [4]


def test_a_run_that_is_resumed_at_any_step_gets_tensors_of_the_same_layout(tmp_path: Any) -> None:
    """Sums over a part of a tensor with gaps can have other last digits than those over its copy."""
    curves = Curves(["sinusoid"], 10, 10, 20.0, [0.5, 2.0], [5.0, 20.0], 0.0).load(tmp_path, print).tasks(SHAPE, 3)
    assert not curves.episodes("train", step(0)).query.y.is_contiguous()
    ahead = TasksAhead(curves, 100)
    for number in range(4):
        for given in (ahead, TasksAhead(curves, 100)):
            assert given.episodes("train", step(number)).query.y.is_contiguous()


class TwoRanks(Ranks):
    """The first of two processes, which computes half of the tasks of a step."""

    size = 2


def test_no_task_beyond_those_of_training_is_made(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny.settings(tmp_path, train__steps=10, train__meta_batch_size=4, train__n_tasks=8)
    with set_up(settings, SINGLE, print) as setup:
        seen: set[int] = set()
        plain = setup.parts.train_source.episodes

        def noted(split: Any, indices: Tensor) -> Episode:
            seen.update(indices.tolist())
            return plain(split, indices)

        monkeypatch.setattr(setup.parts.train_source, "episodes", noted)
        assert setup.step is not None
        for number in range(10):
            setup.step.run(number)
    assert seen == set(range(8))


def test_ranks_make_their_own_tasks_alone(tiny: ModuleType, tmp_path: Path) -> None:
    """Between the tasks of a rank are those of others."""
    with set_up(tiny.settings(tmp_path), SINGLE, print) as setup:
        steps = [make_step(setup.settings, setup.parts, setup.compute, ranks) for ranks in (SINGLE, TwoRanks())]
    assert [made is not None and isinstance(made.source, TasksAhead) for made in steps] == [True, False]


@pytest.mark.parametrize(
    "wanted",
    [
        [step(5), step(2), step(40), step(5)],  # a run that goes on elsewhere
        [torch.tensor([1, 0, 2, 3]), torch.tensor([7, 9]), torch.tensor([0, 1, 1, 2]), torch.tensor([3])],
        [torch.arange(2, 4), torch.arange(6, 8), torch.arange(10, 12)],  # a rank's share
        [torch.arange(0), step(0, 3), step(1, 5), step(1, 3_000)],
    ],
)
def test_so_have_steps_in_any_order_and_shares_of_steps(tmp_path: Any, wanted: list[Tensor]) -> None:
    ahead, plain = TasksAhead(sinusoids(tmp_path), 10_000), sinusoids(tmp_path)
    for indices in wanted:
        assert equal(ahead.episodes("train", indices), plain.episodes("train", indices))


def test_what_is_given_is_the_callers_own_and_begins_where_a_new_tensor_does(tmp_path: Any) -> None:
    ahead, plain = TasksAhead(sinusoids(tmp_path), 10_000), sinusoids(tmp_path)
    for number in range(3):
        given = ahead.episodes("train", step(number, 3))
        assert given.support.x.storage_offset() == 0
        given.support.x.zero_()
        given.query.y.zero_()
    assert equal(ahead.episodes("train", step(1, 3)), plain.episodes("train", step(1, 3)))


def test_large_tasks_and_those_of_other_splits_are_made_when_they_are_asked_for(tmp_path: Any) -> None:
    source = sinusoids(tmp_path)
    ahead = TasksAhead(source, 100_000)
    for _ in range(2):
        ahead.episodes("val", step(0))
        ahead.episodes("train", step(0, 20_000))
    assert source.asked == [4, 20_000, 4, 20_000]
