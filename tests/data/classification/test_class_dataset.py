import pytest
import torch
from class_datasets import numbers, tiny_dataset

from metaexp.core.errors import ConfigError, DataError
from metaexp.core.shapes import Capacity, TaskShape
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.preprocessing import Origin, Pixels, Rotations, normalised_pixels

ORIGIN = Origin("tiny", "0" * 64)
SIZES = {"train": [4, 6], "test": [5, 5, 5]}


def grey(values: list[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1)


def test_capacity_counts_classes_and_the_smallest_of_each_split_there_is():
    assert tiny_dataset(SIZES).capacity() == {"train": Capacity(2, 4), "test": Capacity(3, 5)}


def test_bytes_become_floats_from_zero_to_one_exactly_at_the_ends():
    delivered = ClassDataset(ORIGIN, grey([0, 51, 255]), {"a": 3}, {"train": ["a"]}).examples(torch.arange(3)).flatten()
    assert delivered.dtype == torch.float32
    assert delivered[0] == 0.0
    assert delivered[2] == 1.0
    assert delivered[1].item() == pytest.approx(0.2)


def test_inversion_makes_ink_one_and_paper_zero():
    inverted = ClassDataset(ORIGIN, grey([0, 51, 255]), {"a": 3}, {"train": ["a"]}, Pixels(invert=True))
    assert inverted.examples(torch.arange(3)).flatten().tolist() == pytest.approx([1.0, 0.8, 0.0])


def test_normalisation_is_per_channel_and_after_inversion():
    images = torch.tensor([[0, 100], [255, 200]], dtype=torch.uint8).view(2, 2, 1, 1)
    pixels = Pixels(invert=True, mean=(0.5, 0.25), std=(0.5, 2.0))
    delivered = ClassDataset(ORIGIN, images, {"a": 2}, {"train": ["a"]}, pixels).examples(torch.arange(2))
    expected = ((1 - images.double() / 255) - torch.tensor([0.5, 0.25]).view(2, 1, 1)) / torch.tensor([0.5, 2.0]).view(
        2, 1, 1
    )
    torch.testing.assert_close(delivered, expected.float(), atol=1e-6, rtol=1e-6)


def test_float_examples_are_delivered_as_they_are():
    sequences = torch.randn(6, 7, 3)
    tasks = ClassDataset(ORIGIN, sequences, {"a": 3, "b": 3}, {"test": ["b", "a"]}).tasks(TaskShape(2, 1, 2), 0)
    episodes = tasks.episodes("test", torch.arange(4))
    assert episodes.support.x.shape == (4, 2, 7, 3)
    known = {tuple(s.flatten().tolist()): int(i < 3) for i, s in enumerate(sequences)}
    rows = torch.cat([episodes.support.x, episodes.query.x], 1).flatten(2)
    assert all(tuple(x.tolist()) in known for t in rows for x in t)


def test_turns_go_counter_clockwise_and_are_stored_behind_each_other():
    images = torch.arange(2 * 9, dtype=torch.uint8).view(2, 1, 3, 3)
    turned = ClassDataset(ORIGIN, images, {"a": 2}, {"train": ["a"]}, Pixels(), Rotations("classes"))
    for turn in range(4):
        delivered = (turned.examples(torch.tensor([2 * turn, 2 * turn + 1])) * 255).round().to(torch.uint8)
        assert torch.equal(delivered, images.rot90(turn, (-2, -1)))


def test_the_digest_follows_every_convention():
    kinds = [
        tiny_dataset(SIZES),
        tiny_dataset(SIZES, pixels=Pixels(invert=True)),
        tiny_dataset(SIZES, pixels=normalised_pixels(False, [0.5, 0.5])),
        tiny_dataset(SIZES, "per_class"),
        tiny_dataset(SIZES, "per_class", "train"),
        tiny_dataset({"train": [4], "val": [6], "test": [5, 5, 5]}),
        tiny_dataset(SIZES, name="other"),
    ]
    assert len({b.digest for b in kinds}) == len(kinds)
    assert tiny_dataset(SIZES).digest == kinds[0].digest


def test_moving_to_a_device_keeps_everything():
    tiny = tiny_dataset(SIZES, "per_class", pixels=normalised_pixels(True, [0.5, 0.5]))
    moved = tiny.to(torch.device("cpu"))
    assert moved.digest == tiny.digest
    a, b = (x.tasks(TaskShape(2, 1, 2), 0).episodes("test", torch.arange(3)) for x in (tiny, moved))
    assert torch.equal(a.query.x, b.query.x)


def test_rows_of_any_shape_can_be_requested():
    rows = torch.tensor([[[1, 4], [0, 2]]])
    assert torch.equal(numbers(tiny_dataset(SIZES).examples(rows)), rows)


@pytest.mark.parametrize(
    ("classes", "splits", "rotations", "message"),
    [
        ({"a": 2}, {"train": ["a"]}, "none", "classes add up to 2 examples; there are 3"),
        ({"a": 3, "b": 0}, {"train": ["a"]}, "none", "class b has no examples"),
        ({"a": 3}, {"train": ["a", "c"]}, "none", "class c of the train split has no examples"),
        ({"a": 3}, {"train": ["a"], "test": ["a"]}, "none", "class a is in train and again in test"),
    ],
)
def test_what_does_not_fit_together_is_refused(classes, splits, rotations, message):
    with pytest.raises(DataError, match=message):
        ClassDataset(ORIGIN, grey([1, 2, 3]), classes, splits, Pixels(), Rotations(rotations))


def test_classes_of_validation_may_be_trained_on_where_that_is_said_and_those_of_the_test_never():
    def made(**splits):
        ClassDataset(ORIGIN, grey([1, 2, 3]), {"a": 2, "b": 1}, splits, val_in_train=True)

    made(train=["a", "b"], val=["b"])
    with pytest.raises(
        DataError, match=r"class b is in train and again in val; .* set val_in_train = True in the class"
    ):
        ClassDataset(ORIGIN, grey([1, 2, 3]), {"a": 2, "b": 1}, {"train": ["a", "b"], "val": ["b"]})
    with pytest.raises(DataError, match="class b is in train and again in test; splits must not overlap.$"):
        made(train=["a", "b"], val=["a"], test=["b"])
    with pytest.raises(DataError, match="class a is in val and again in test"):
        made(train=["b"], val=["a"], test=["a"])


def test_only_square_images_can_be_turned():
    with pytest.raises(DataError, match=r"rotations need square images; an example is \(1, 2, 3\)"):
        ClassDataset(
            ORIGIN,
            torch.zeros(1, 1, 2, 3, dtype=torch.uint8),
            {"a": 1},
            {"train": ["a"]},
            Pixels(),
            Rotations("classes"),
        )


def test_other_number_types_are_refused():
    with pytest.raises(DataError, match=r"examples are torch.float64; they must be uint8 \(images\) or float32"):
        ClassDataset(ORIGIN, torch.zeros(1, 3, dtype=torch.float64), {"a": 1}, {"train": ["a"]})


def test_a_request_for_a_split_without_classes_names_the_split():
    with pytest.raises(ConfigError, match=r"tiny has no val classes; it has train, test\."):
        tiny_dataset(SIZES).tasks(TaskShape(2, 1, 1), 0).episodes("val", torch.arange(1))


@pytest.mark.parametrize("shape", [TaskShape(0, 1, 1), TaskShape(2, 0, 1), TaskShape(2, 1, 0)])
def test_empty_tasks_are_refused(shape):
    with pytest.raises(ConfigError, match="all must be at least 1 for tiny, a classification dataset"):
        tiny_dataset(SIZES).tasks(shape, 0)


def test_an_empty_batch_is_refused():
    with pytest.raises(ConfigError, match="a batch of 0 examples is not possible; the least is 1"):
        tiny_dataset(SIZES).batches(0, 0)


def test_each_channel_can_have_a_mean_and_a_deviation_of_its_own():
    images = torch.randint(0, 256, (6, 3, 2, 2), dtype=torch.uint8)
    means, stds = [0.1, 0.2, 0.3], [0.5, 0.25, 2.0]
    data = ClassDataset(Origin("x", "0"), images, {"a": 6}, {"train": ["a"]}, normalised_pixels(False, [means, stds]))
    expected = (images / 255 - torch.tensor(means).view(3, 1, 1)) / torch.tensor(stds).view(3, 1, 1)
    assert torch.allclose(data.examples(torch.arange(6)), expected, atol=1e-6)
    one = ClassDataset(Origin("x", "0"), images, {"a": 6}, {"train": ["a"]}, normalised_pixels(False, [0.1, 0.5]))
    assert not torch.allclose(one.examples(torch.arange(6)), expected, atol=1e-2)
    assert one.digest != data.digest


def test_means_of_another_number_of_channels_are_refused():
    grey = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    with pytest.raises(ConfigError, match=r"dataset\.normalise has 3 means, and images of x have 1 channel\. Give one"):
        ClassDataset(
            Origin("x", "0"), grey, {"a": 2}, {"train": ["a"]}, normalised_pixels(False, [[0.1] * 3, [0.5] * 3])
        )


@pytest.mark.parametrize(
    "normalise",
    [
        [0.5],
        [0.5, 0.0],
        [0.5, -1.0],
        [float("nan"), 1.0],
        [0.1, 0.2, 0.3],
        [[0.1, 0.2], [0.5]],
        [[0.1, 0.2], [0.5, 0.0]],
        [[], []],
    ],
)
def test_impossible_normalisations_are_refused(normalise):
    with pytest.raises(ConfigError, match=r"dataset.normalise=.* must be null, \[mean, std\]"):
        normalised_pixels(False, normalise)
