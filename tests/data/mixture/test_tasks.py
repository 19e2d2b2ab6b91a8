"""Episodes of a mixture: which domain, which examples, and which can be stacked."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from class_datasets import tiny_dataset

from metaexp.core.errors import ConfigError
from metaexp.core.shapes import Capacity, Split, TaskShape
from metaexp.data.classification.augmentation import augmented
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.preprocessing import Augmentation, Pixels
from metaexp.data.mixture.data import MixtureData
from metaexp.data.mixture.sizes import Sampling

SHAPE = TaskShape(3, 2, 2)
VARIED = Sampling(least_ways=2, varied_shots=True, unequal_queries=True)


def domains() -> dict[str, ClassDataset]:
    return {
        "small": tiny_dataset({"train": [5] * 6, "val": [5] * 4, "test": [6] * 5}, name="small"),
        "large": tiny_dataset({"train": [9, 12] * 4, "val": [8] * 5, "test": [9, 30] * 3}, name="large"),
        "turned": tiny_dataset({"train": [6] * 5, "val": [6] * 3, "test": [7] * 4}, kind="per_class", name="turned"),
    }


def mixture(sampling: Sampling = Sampling()) -> MixtureData:  # noqa: B008 - immutable
    return MixtureData(domains(), sampling)


def test_each_episode_is_the_very_episode_of_its_domain() -> None:
    source = mixture().tasks(SHAPE, 3)
    alone = {name: domain.tasks(SHAPE, 3) for name, domain in domains().items()}
    for split in ("train", "val", "test"):
        indices = torch.tensor([7, 0, 4, 5, 12])
        names = source.domain_names(split, 13)
        episodes = source.episodes(split, indices)
        for place, index in enumerate(indices.tolist()):
            own = alone[names[index]].episodes(split, indices[place : place + 1])
            assert torch.equal(episodes.support.x[place], own.support.x[0])
            assert torch.equal(episodes.query.y[place], own.query.y[0])
            other = alone["small" if names[index] == "large" else "large"].episodes(split, indices[place : place + 1])
            assert not torch.equal(episodes.support.x[place], other.support.x[0])


def test_tests_take_the_domains_in_turn_and_training_draws_them() -> None:
    source = mixture().tasks(SHAPE, 0)
    assert source.domain_names("test", 7) == ["small", "large", "turned"] * 2 + ["small"]
    assert Counter(source.domain_names("val", 30)) == {"small": 10, "large": 10, "turned": 10}
    counts = Counter(source.domain_names("train", 3000))
    assert all(900 < count < 1100 for count in counts.values())
    assert source.domain_names("train", 50) != mixture().tasks(SHAPE, 1).domain_names("train", 50)
    assert source.domain_names("train", 50) == source.domain_names("train", 80)[:50]


def test_an_episode_is_the_same_whatever_is_asked_for_with_it() -> None:
    for sampling in (Sampling(), VARIED):
        source = mixture(sampling).tasks(SHAPE, 0)
        again = mixture(sampling).tasks(SHAPE, 0)
        for index in range(12):
            first, second = (s.episodes("train", torch.tensor([index])) for s in (source, again))
            assert torch.equal(first.support.x, second.support.x)
        assert source.bank_hash("test", 20) == again.bank_hash("test", 20)
        assert source.bank_hash("test", 20) != mixture(sampling).tasks(SHAPE, 1).bank_hash("test", 20)
        assert source.bank_hash("test", 20) != source.bank_hash("test", 19)


def test_varied_episodes_differ_in_shape_and_stay_within_the_limits() -> None:
    source = mixture(VARIED).tasks(TaskShape(5, 4, 3), 0)
    assert source.varies
    seen = set()
    for index in range(60):
        episode = source.episodes("train", torch.tensor([index]))
        support, query = episode.support, episode.query
        assert 2 <= support.n_way == query.n_way <= 5
        assert set(support.y[0].tolist()) == set(range(support.n_way)) == set(query.y[0].tolist())
        assert max(Counter(query.y[0].tolist()).values()) <= 3
        shown = torch.cat([support.x[0], query.x[0]])
        assert len({image.numpy().tobytes() for image in shown}) == len(shown), "an example is there once"
        seen.add((support.n_way, support.y.shape[1], query.y.shape[1]))
    assert len(seen) > 15


def test_examples_of_a_class_are_of_that_class() -> None:
    own = {"only": tiny_dataset({"train": [7] * 6, "val": [7] * 3, "test": [7] * 3}), **domains()}
    source = MixtureData(own, VARIED).tasks(TaskShape(5, 4, 3), 0)
    for index in [i for i, name in enumerate(source.domain_names("train", 60)) if name == "only"]:
        episode = source.episodes("train", torch.tensor([index]))
        for part in episode:
            classes = ((part.x[0, :, 0, 0, 0] * 255).round() + 200 * (part.x[0, :, 0, 0, 1] * 255).round()).long() // 7
            pairs = set(zip(part.y[0].tolist(), classes.tolist(), strict=True))
            assert len(pairs) == episode.support.n_way


def test_groups_hold_every_episode_once_and_can_be_stacked() -> None:
    source = mixture(VARIED).tasks(TaskShape(5, 4, 3), 0)
    indices = torch.arange(40, 80)
    groups = source.alike("val", indices)
    assert sorted(torch.cat(groups).tolist()) == list(range(40))
    for places in groups:
        stacked = source.episodes("val", indices[places])
        for row, place in enumerate(places.tolist()):
            alone = source.episodes("val", indices[place : place + 1])
            assert torch.equal(stacked.support.x[row], alone.support.x[0])
            assert torch.equal(stacked.query.y[row], alone.query.y[0])


def test_episodes_of_several_shapes_are_not_stacked() -> None:
    source = mixture(VARIED).tasks(TaskShape(5, 4, 3), 0)
    with pytest.raises(ConfigError, match="differ in ways, shots or queries, and cannot be stacked"):
        source.episodes("train", torch.arange(20))


def test_alike_gives_consecutive_episodes_one_shape() -> None:
    sampling = Sampling(least_ways=2, varied_shots=True, alike=4)
    own = {name: tiny_dataset({"train": [9] * 8, "val": [9] * 5, "test": [9] * 5}, name=name) for name in "ab"}
    source = MixtureData(own, sampling).tasks(TaskShape(5, 4, 3), 0)
    assert [len(source.alike("train", torch.arange(4 * i, 4 * i + 4))) for i in range(8)] == [1] * 8
    assert max(len(source.alike("train", torch.arange(4 * i + 2, 4 * i + 6))) for i in range(8)) > 1
    names = source.domain_names("test", 16)
    assert names == ["a"] * 4 + ["b"] * 4 + ["a"] * 4 + ["b"] * 4


def test_a_fixed_mixture_is_one_group_and_has_the_smallest_capacity() -> None:
    data = mixture()
    assert data.capacity() == {"train": Capacity(5, 5), "val": Capacity(3, 5), "test": Capacity(4, 6)}
    assert mixture(VARIED).capacity() is None
    (group,) = data.tasks(SHAPE, 0).alike("train", torch.arange(5))
    assert group.tolist() == list(range(5))


def test_the_digest_covers_domains_their_names_and_the_sampling() -> None:
    digest = mixture().digest
    assert digest == mixture().digest
    assert digest != mixture(VARIED).digest
    own = domains()
    assert digest != MixtureData({"tiny": own.pop("small"), **own}, Sampling()).digest


def test_classes_are_recognised_in_their_domain_and_alone() -> None:
    ids, alone = mixture().class_ids("test"), domains()["large"].class_ids("test")
    assert len(ids) == 5 + 6 + 4
    assert ids["large: test/0"] == alone["test/0"]


def test_datasets_of_other_shapes_do_not_mix() -> None:
    other = ClassDataset(
        domains()["small"].origin._replace(name="other"), torch.zeros(6, 3, 6, 6, dtype=torch.uint8),
        {"a": 2, "b": 2, "c": 2}, {"train": ["a"], "val": ["b"], "test": ["c"]},
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"examples of dataset.domains.other are of shape \(3, 6, 6\), and those of"):
        MixtureData({**domains(), "other": other}, Sampling())


@pytest.mark.parametrize("augmentation", [Augmentation(crop=1), Augmentation(brightness=0.2)])
def test_images_of_a_mixture_are_changed_as_those_of_their_domain_alone(augmentation: Augmentation) -> None:
    def normalised(mean: float) -> dict[str, ClassDataset]:
        sizes: dict[Split, list[int]] = {"train": [5] * 6, "val": [5] * 4, "test": [6] * 5}
        pixels = Pixels(mean=(mean,), std=(0.5,))
        return {name: tiny_dataset(sizes, name=name, pixels=pixels) for name in ("a", "b")}

    alone, mixed = normalised(0.3)["a"], MixtureData(normalised(0.3), Sampling())
    source = augmented(mixed.tasks(SHAPE, 0), mixed, augmentation, seed=0)
    plain = augmented(alone.tasks(SHAPE, 0), alone, augmentation, seed=0)
    indices = torch.arange(20)
    first = mixed.tasks(SHAPE, 0).domain_names("train", 20).index("a")
    ours, theirs = (s.episodes("train", indices[first : first + 1]).support.x for s in (source, plain))
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, alone.tasks(SHAPE, 0).episodes("train", indices[first : first + 1]).support.x)
    other = MixtureData({"a": normalised(0.3)["a"], "b": normalised(0.4)["b"]}, Sampling())
    with pytest.raises(ConfigError, match=r"dataset\.domains\.b differs from that of dataset\.domains\.a"):
        augmented(other.tasks(SHAPE, 0), other, augmentation, seed=0)
    augmented(other.tasks(SHAPE, 0), other, Augmentation(flip=True), seed=0)


@pytest.mark.parametrize(
    ("sampling", "shape", "message"),
    [
        (Sampling(), TaskShape(0, 1, 1), "must be at least 1 for a mixture"),
        (Sampling(least_ways=4), TaskShape(3, 1, 1), "dataset.least_ways=4 is more than task.n_way=3"),
        (
            Sampling(least_ways=4),
            TaskShape(9, 1, 1),
            "least_ways=4 needs as many classes; the val split of dataset.domains.turned has 3",
        ),
        (
            Sampling(varied_shots=True),
            TaskShape(9, 1, 1),
            "the train split of dataset.domains.small has 6",
        ),
        (
            Sampling(least_ways=2),
            TaskShape(3, 4, 2),
            "an episode needs 6 examples per class; .*small has a class of 5",
        ),
    ],
)
def test_what_a_domain_has_no_room_for_is_refused(sampling: Sampling, shape: TaskShape, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mixture(sampling).tasks(shape, 0)


def test_batches_are_of_all_domains_under_labels_of_their_own() -> None:
    data = mixture()
    assert data.n_labels() == 6 + 8 + 5
    source = data.batches(40, 0)
    batch = source.episodes("train", torch.arange(3)).support
    assert batch.x.shape == (3, 40, 1, 6, 6)
    assert batch.n_way == 19
    assert set(batch.y.flatten().tolist()) <= set(range(19))
    for name, offset in {"small": 0, "large": 6}.items():
        table = domains()[name].table("train")
        for t, place in ((batch.y >= offset) & (batch.y < offset + table.n_classes)).nonzero().tolist():
            label = int(batch.y[t, place]) - offset
            number = int((batch.x[t, place, 0, 0, 0] * 255).round() + 200 * (batch.x[t, place, 0, 0, 1] * 255).round())
            assert int(table.first[label]) <= number < int(table.first[label] + table.length[label])
    assert torch.equal(batch.y[1], source.episodes("train", torch.tensor([1])).support.y[0])
    assert source.bank_hash("train", 3) != data.batches(40, 1).bank_hash("train", 3)
    with pytest.raises(ConfigError, match="train.meta_batch_size=999 examples are more than the 144"):
        data.batches(999, 0).episodes("train", torch.arange(1))
    with pytest.raises(ConfigError, match="a batch of 0 examples is not possible"):
        data.batches(0, 0)


def test_moving_it_changes_nothing() -> None:
    data = mixture()
    assert data.to(torch.device("cpu")).digest == data.digest


def test_augmented_episodes_of_any_size_are_those_of_the_mixture_changed() -> None:
    data = mixture(VARIED)
    source = data.tasks(TaskShape(5, 4, 3), 0)
    changed = augmented(source, data, Augmentation(flip=True), 0)
    assert changed.varies
    assert changed.domain_names("test", 5) == source.domain_names("test", 5)
    indices = torch.arange(20)
    for ours, theirs in zip(changed.alike("train", indices), source.alike("train", indices), strict=True):
        assert torch.equal(ours, theirs)
        first, second = changed.episodes("train", indices[ours]), source.episodes("train", indices[ours])
        assert torch.equal(first.support.y, second.support.y)
        is_same = (first.support.x == second.support.x).flatten(2).all(-1)
        is_flipped = (first.support.x == second.support.x.flip(-1)).flatten(2).all(-1)
        assert bool((is_same | is_flipped).all())
    assert not bool(is_same.all() & is_flipped.all())
