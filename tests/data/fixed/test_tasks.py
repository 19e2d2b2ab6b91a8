"""Test episodes of a list: looked up whatever the seed, while the others are drawn."""

from __future__ import annotations

import pytest
import torch

from metaexp.core.errors import ConfigError
from metaexp.core.shapes import TaskShape
from metaexp.data.classification.preprocessing import Origin, Pixels, Rotations
from metaexp.data.fixed.episode_file import EpisodeList, FixedEpisode, Item
from metaexp.data.fixed.tasks import FixedTestDataset

CLASSES = dict.fromkeys("abcdefgh", 4)
ROWS = {Item(name, f"{name}{i}"): 4 * row + i for row, name in enumerate(CLASSES) for i in range(4)}
ONE_SHOT = TaskShape(2, 1, 1)


def items(text: str) -> tuple[Item, ...]:
    return tuple(Item(name[0], name) for name in text.split())


EPISODES = (FixedEpisode("1", items("h0 g1"), items("g3 h2")), FixedEpisode("2", items("e0 h0"), items("e1 h3")))


def dataset(episodes: tuple[FixedEpisode, ...] = EPISODES, rotations: Rotations | None = None) -> FixedTestDataset:
    examples = torch.arange(32, dtype=torch.uint8).view(32, 1, 1, 1).expand(32, 1, 2, 2).contiguous()
    examples[:, :, 0, 0] += 100  # so that turns are seen
    splits = {"train": list("abc"), "val": list("d"), "test": list("efgh")}
    listed = EpisodeList(ONE_SHOT, episodes)
    origin = Origin("letters", "0" * 64)
    return FixedTestDataset(listed, ROWS, origin, examples, CLASSES, splits, Pixels(), rotations or Rotations())


def test_test_episodes_are_those_of_the_list_with_labels_in_the_order_of_the_support() -> None:
    draw = dataset().tasks(ONE_SHOT, 0).draw("test", torch.tensor([1, 0]))
    assert draw.support_rows.tolist() == [[16, 28], [28, 25]]
    assert draw.query_rows.tolist() == [[17, 31], [27, 30]]
    assert draw.support_y.tolist() == [[0, 1], [0, 1]]
    assert draw.query_y.tolist() == [[0, 1], [1, 0]]


def test_the_seed_changes_the_other_splits_alone() -> None:
    first, second = (dataset().tasks(ONE_SHOT, seed) for seed in (0, 1))
    assert first.bank_hash("test", 2) == second.bank_hash("test", 2)
    assert first.bank_hash("train", 2) != second.bank_hash("train", 2)
    assert first.bank_hash("test", 1) != first.bank_hash("test", 2)


@pytest.mark.parametrize("kind", ["classes", "per_class", "per_episode"])
def test_listed_images_are_never_turned(kind: str) -> None:
    turned = dataset(rotations=Rotations(kind, "all"))  # type: ignore[arg-type]
    indices = torch.tensor([0, 1])
    upright, found = (data.tasks(ONE_SHOT, 3).episodes("test", indices) for data in (dataset(), turned))
    assert torch.equal(found.query.x, upright.query.x)
    assert turned.capacity()["test"] == dataset().capacity()["test"]
    train = turned.tasks(ONE_SHOT, 3).episodes("train", torch.arange(8)).query.x
    assert (train[..., 0, 0] < 0.39).any()  # a negative control: those of training are turned


def test_the_list_decides_digest_and_bank() -> None:
    other = dataset((EPISODES[1], EPISODES[0]))
    assert other.digest != dataset().digest
    assert other.tasks(ONE_SHOT, 0).bank_hash("test", 2) != dataset().tasks(ONE_SHOT, 0).bank_hash("test", 2)
    assert dataset().digest == dataset().digest


def test_an_episode_that_is_not_in_the_list_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"eval.episodes=3 are more than the 2 test episodes of letters"):
        dataset().tasks(ONE_SHOT, 0).episodes("test", torch.tensor([0, 2]))


def test_a_task_of_another_shape_is_refused_for_the_test_alone() -> None:
    source = dataset().tasks(TaskShape(3, 1, 2), 0)
    assert source.episodes("train", torch.arange(2)).query.y.shape == (2, 6)
    with pytest.raises(
        ConfigError, match=r"are fixed: 2-way 1-shot .* Set task.n_way=2 task.k_shot=1 task.n_query=1\."
    ):
        source.episodes("test", torch.tensor([0]))


def test_a_copy_on_another_device_has_the_same_episodes() -> None:
    moved = dataset().to(torch.device("cpu"))
    assert moved.tasks(ONE_SHOT, 0).bank_hash("test", 2) == dataset().tasks(ONE_SHOT, 0).bank_hash("test", 2)
    assert moved.digest == dataset().digest
    assert dataset().to(torch.device("meta")).bank.query_rows.device.type == "meta"
