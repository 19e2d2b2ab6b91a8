"""The names of the classes of an episode, told by the images that it shows."""

from __future__ import annotations

import pytest
import torch
from class_datasets import class_of, numbers, tiny_dataset, turns

from metaexp.core.shapes import Split, TaskShape
from metaexp.core.types import Episode
from metaexp.data.base import TaskSource
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.preprocessing import RotationKind
from metaexp.data.mixture.data import MixtureData
from metaexp.data.mixture.sizes import Sampling
from metaexp.run.evaluation.evaluator import SealedSource

SIZES: dict[Split, list[int]] = {"train": [5] * 6, "val": [5, 6, 7, 8], "test": [6, 9, 7, 8, 6]}
SHAPE = TaskShape(3, 2, 2)
VARIED = Sampling(least_ways=2, varied_shots=True, unequal_queries=True)


def data(kind: RotationKind = "none", name: str = "tiny") -> ClassDataset:
    return tiny_dataset(SIZES, kind=kind, name=name)


def shown(episode: Episode, place: int, kind: RotationKind = "none") -> list[str]:
    """The class of each label, by the numbers and the turns in the images of its queries."""
    x, y = episode.query.x[place], episode.query.y[place]
    counts = [size for sizes in SIZES.values() for size in sizes]
    names = [f"{split}/{i}" for split, sizes in SIZES.items() for i in range(len(sizes))]
    found = []
    for label in range(episode.query.n_way):
        images = x[y == label]
        (number,) = set(class_of(numbers(images), counts).tolist())
        (turn,) = set(turns(images).tolist()) if kind == "classes" else {0}
        found.append(names[number] + (f", turned by {90 * turn} degrees" if turn else ""))
    return found


@pytest.mark.parametrize("kind", ["none", "classes", "per_class", "per_episode"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_names_are_those_of_the_images_in_the_order_of_their_labels(kind: RotationKind, split: Split) -> None:
    source = data(kind).tasks(SHAPE, 4)
    names = source.class_names(split, 30)
    episodes = source.episodes(split, torch.arange(30))
    assert [list(own) for own in names] == [shown(episodes, i, kind) for i in range(30)]
    assert len(set(names)) > 5
    assert any("turned" in name for own in names for name in own) == (kind == "classes")


@pytest.mark.parametrize("sampling", [Sampling(), VARIED])
def test_classes_of_a_mixture_are_named_after_their_dataset(sampling: Sampling) -> None:
    source = MixtureData({"old": data(name="a"), "new": data("per_class", name="b")}, sampling).tasks(SHAPE, 0)
    names = source.class_names("test", 24)
    for i, domain in enumerate(source.domain_names("test", 24)):
        episode = source.episodes("test", torch.tensor([i]))
        assert list(names[i]) == [f"{domain}: {name}" for name in shown(episode, 0)]


def test_classes_of_test_episodes_are_sealed_and_others_have_no_names() -> None:
    source = SealedSource(data().tasks(SHAPE, 0))
    assert len(source.class_names("val", 2)) == 2
    with pytest.raises(RuntimeError, match="before the final evaluation"):
        source.class_names("test", 2)
    source.open_test()
    assert source.class_names("test", 2) == data().tasks(SHAPE, 0).class_names("test", 2)
    assert TaskSource.class_names(source, "test", 2) == []
