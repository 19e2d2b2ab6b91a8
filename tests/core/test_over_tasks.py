from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch

from metaexp.core.errors import ConfigError
from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode, Examples


def batch(n_tasks: int) -> Episode:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n_tasks, 6, 3, generator=generator, dtype=torch.float64)
    y = torch.arange(6).remainder(2).expand(n_tasks, 6)
    return Episode(Examples(x, y, 2), Examples(x + 1, y, 2))


def class_means(episode: Episode) -> dict[str, torch.Tensor]:
    one_hot = torch.nn.functional.one_hot(episode.support.y, episode.support.n_way).double()
    return {"means": one_hot.T @ episode.support.x, "total": episode.query.x.sum()}


@pytest.mark.parametrize("chunk_size", [None, 1, 2, 3, 5, 7, 100])
def test_every_chunk_size_gives_the_result_of_a_loop(chunk_size: int | None) -> None:
    episodes = batch(7)
    expected = [
        class_means(Episode(*(Examples(part.x[i], part.y[i], part.n_way) for part in episodes))) for i in range(7)
    ]
    result = over_tasks(class_means, episodes, chunk_size)
    assert result["means"].shape == (7, 2, 3)
    assert torch.allclose(result["means"], torch.stack([e["means"] for e in expected]), atol=1e-12)
    assert torch.allclose(result["total"], torch.stack([e["total"] for e in expected]), atol=1e-12)


def test_a_different_task_gives_a_different_result() -> None:
    result = over_tasks(class_means, batch(7), 2)
    assert not torch.allclose(result["means"][0], result["means"][1])


def test_chunk_size_one_never_vectorises() -> None:
    def refuses_vmap(episode: Episode) -> torch.Tensor:
        # .item() raises inside vmap, and is fine in a loop
        return torch.tensor(episode.support.x.sum().item())

    assert over_tasks(refuses_vmap, batch(3), 1).shape == (3,)
    assert over_tasks(refuses_vmap, batch(1), 4).shape == (1,)  # nor does a single task in a larger chunk
    with pytest.raises(ConfigError, match=r"calling \.item\(\) on a Tensor\. Set device\.task_chunk=1"):
        over_tasks(refuses_vmap, batch(3), None)


class Pair(NamedTuple):
    left: torch.Tensor
    right: list[torch.Tensor]


@pytest.mark.parametrize("chunk_size", [1, 2, None])
def test_named_tuples_and_lists_are_stacked_leaf_by_leaf(chunk_size: int | None) -> None:
    def parts(episode: Episode) -> Pair:
        return Pair(episode.support.x, [episode.query.x.sum(), episode.query.x.mean()])

    pair = over_tasks(parts, batch(5), chunk_size)
    assert isinstance(pair, Pair)
    assert torch.equal(pair.left, batch(5).support.x)
    assert [s.shape for s in pair.right] == [(5,), (5,)]


SHARED = torch.zeros(3, dtype=torch.float64)
TABLE = torch.zeros(2, 3, dtype=torch.float64)
WRITES: dict[str, Callable[[torch.Tensor], object]] = {
    "add_": lambda x: SHARED.add_(x),
    "copy_": lambda x: SHARED.copy_(x),
    "lerp_": lambda x: SHARED.lerp_(x, 0.1),
    "fill_": lambda x: SHARED.fill_(x.sum()),
    "an index": lambda x: TABLE.__setitem__(0, x),
    "new zeros": lambda x: torch.zeros(2, 3, dtype=torch.float64).__setitem__(1, x),
    "of torch's batch norm": lambda x: torch.nn.functional.batch_norm(
        torch.stack([x, 2 * x]), SHARED, SHARED + 1, training=True
    ),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_what_all_tasks_share_cannot_be_written_by_several_at_once(
    write: Callable[[torch.Tensor], object], chunk_size: int | None
) -> None:
    def writes(episode: Episode) -> torch.Tensor:
        write(episode.support.x.mean(0))
        return episode.support.x.sum()

    with pytest.raises(
        ConfigError, match=r"writes values of a task into a tensor that belongs to no task, .*task_chunk"
    ):
        over_tasks(writes, batch(4), chunk_size)
    assert over_tasks(writes, batch(4), 1).shape == (4,)


def test_a_tensor_of_each_task_may_be_written_and_other_shapes_stay_a_bug() -> None:
    def own(episode: Episode) -> torch.Tensor:
        table = episode.support.x.new_zeros(2, 3)
        table[1] = episode.support.x.mean(0)
        return table

    def wrong(episode: Episode) -> torch.Tensor:
        return torch.zeros(3).add_(torch.zeros(2, 3)) + episode.support.x.mean(0)

    assert over_tasks(own, batch(4)).shape == (4, 2, 3)
    with pytest.raises(RuntimeError, match="output with shape"):
        over_tasks(wrong, batch(4))
