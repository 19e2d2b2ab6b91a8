"""Buffers that only some tasks or groups of a step assign: a table is made again, and anything else is refused."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from pure_tasks import Pure, step
from torch import Tensor

from metaexp.core.errors import ConfigError
from metaexp.core.types import Episode, combine_tensors
from metaexp.run.side_effects.buffers import mean_buffers, sum_buffers


class Collecting(Pure):
    """Has a mean that training collects, and a table."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("table", torch.arange(1.0), persistent=False)


class OnlyOnLargeTasks(Collecting):
    """Assigns the mean in tasks whose targets are large."""

    def meta_loss(self, episode: Episode) -> Tensor:
        if episode.support.y.mean() > 0:
            self.mean = self.mean + 1.0
        return super().meta_loss(episode)


def parts(*names: tuple[str, ...]) -> list[dict[str, Tensor]]:
    return [{name: torch.full((2,), float(i + 1)) for name in part} for i, part in enumerate(names)]


def test_a_table_that_some_parts_grew_is_left_out() -> None:
    for found in (parts(("mean", "table"), ("mean",)), parts(("mean",), ("mean", "table"))):
        assert mean_buffers(Collecting(), found, 4).keys() == {"mean"}
        assert float(mean_buffers(Collecting(), found, 4)["mean"]) == pytest.approx(1.5)
        summed = sum_buffers(Collecting(), found)
        assert summed.keys() == {"mean"}
        assert summed["mean"].tolist() == [3.0, 3.0]


def test_what_all_parts_assign_is_kept() -> None:
    found = parts(("mean", "table"), ("mean", "table"))
    assert mean_buffers(Collecting(), found, 4).keys() == sum_buffers(Collecting(), found).keys() == {"mean", "table"}


@pytest.mark.parametrize("found", [parts(("mean",), ()), parts((), ("mean",))])
def test_a_lasting_buffer_of_some_parts_is_refused(found: list[dict[str, Tensor]]) -> None:
    for merge in (lambda: mean_buffers(Collecting(), found, 4), lambda: sum_buffers(Collecting(), found)):
        with pytest.raises(ConfigError, match="Collecting gives the buffer mean a new tensor in some training tasks"):
            merge()


def test_a_buffer_that_only_some_tasks_assign_is_refused(tiny: ModuleType) -> None:
    made = step(tiny, OnlyOnLargeTasks())
    with pytest.raises(ConfigError, match="OnlyOnLargeTasks gives the buffer mean a new tensor in some training tasks"):
        list(map(made.run, range(20)))


def test_nests_with_the_same_keys_are_joined() -> None:
    trees = [{"a": torch.tensor(float(i)), "b": (torch.tensor(i),)} for i in range(2)]
    assert combine_tensors(torch.stack, trees)["a"].tolist() == [0.0, 1.0]
    with pytest.raises(ConfigError, match="give c"):
        combine_tensors(torch.stack, [trees[0], {**trees[1], "c": torch.tensor(0)}])
