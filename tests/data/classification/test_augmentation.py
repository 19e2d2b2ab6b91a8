import numpy as np
import pytest
import torch
from torch import Tensor

from metaexp.core.errors import ConfigError
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode
from metaexp.data.base import TaskSource
from metaexp.data.classification.augmentation import augmented, change_images
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.preprocessing import Augmentation, Origin, Pixels, normalised_pixels

SHAPE = TaskShape(3, 2, 4)
ALL = Augmentation(True, True, 2, 0.4, 0.4, 0.4)


def images(channels: int = 3, size: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (60, channels, size, size), generator=generator, dtype=torch.uint8)


def data(examples: Tensor | None = None, pixels: Pixels = Pixels()) -> ClassDataset:  # noqa: B008 - immutable
    classes = {f"c{i}": 10 for i in range(6)}
    splits = {"train": ["c0", "c1", "c2"], "val": ["c3", "c4", "c5"]}
    return ClassDataset(Origin("d", "0"), images() if examples is None else examples, classes, splits, pixels)


def source(augmentation: Augmentation, dataset: ClassDataset | None = None, seed: int = 0) -> TaskSource:
    dataset = dataset or data()
    return augmented(dataset.tasks(SHAPE, seed), dataset, augmentation, seed)


def same(one: Episode, two: Episode) -> bool:
    return torch.equal(one.support.x, two.support.x) and torch.equal(one.query.x, two.query.x)


def test_nothing_is_wrapped_where_nothing_is_changed():
    dataset = data()
    tasks = dataset.tasks(SHAPE, 0)
    assert augmented(tasks, dataset, Augmentation(), 0) is tasks
    assert augmented(tasks, dataset, Augmentation(flip=True), 0) is not tasks


def test_an_episode_is_changed_in_the_same_way_whatever_it_is_made_with():
    tasks = source(ALL)
    together = tasks.episodes("train", torch.arange(6))
    for i in range(6):
        alone = source(ALL).episodes("train", torch.tensor([i]))
        assert torch.equal(alone.support.x[0], together.support.x[i])
        assert torch.equal(alone.query.x[0], together.query.x[i])
    assert same(tasks.episodes("train", torch.tensor([4, 1])), Episode(*(
        part._replace(x=part.x[[4, 1]]) for part in together
    )))  # fmt: skip
    assert not torch.equal(together.support.x[0], together.support.x[1])
    assert not same(together, source(ALL, seed=1).episodes("train", torch.arange(6)))


def test_only_images_of_training_episodes_are_changed():
    plain, changed = data().tasks(SHAPE, 0), source(ALL)
    at = torch.arange(5)
    assert same(plain.episodes("val", at), changed.episodes("val", at))
    one, two = plain.episodes("train", at), changed.episodes("train", at)
    assert not same(one, two)
    assert torch.equal(one.query.y, two.query.y)
    assert plain.bank_hash("val", 5) == changed.bank_hash("val", 5)


@pytest.mark.parametrize(("parts", "support", "query"), [("both", 1, 1), ("support", 1, 0), ("query", 0, 1)])
def test_the_parts_of_an_episode_that_are_changed_can_be_chosen(parts, support, query):
    at = torch.arange(5)
    one = data().tasks(SHAPE, 0).episodes("train", at)
    two = source(Augmentation(flip=True, parts=parts)).episodes("train", at)
    assert torch.equal(one.support.x, two.support.x) != bool(support)
    assert torch.equal(one.query.x, two.query.x) != bool(query)


def test_a_supervised_batch_stays_support_and_query_at_once():
    dataset = data()
    batch = augmented(dataset.batches(8, 0), dataset, ALL, 0).episodes("train", torch.arange(2))
    assert batch.query.x is batch.support.x
    assert not torch.equal(batch.query.x, dataset.batches(8, 0).episodes("train", torch.arange(2)).query.x)


def changed(x: Tensor, augmentation: Augmentation, pixels: Pixels = Pixels()) -> Tensor:  # noqa: B008 - immutable
    words = torch.from_numpy(np.random.default_rng(0).integers(-(2**63), 2**63, (len(x), 8)))
    return change_images(x, words, augmentation, pixels)


X = images().float() / 255


def test_half_of_the_images_are_mirrored_and_the_others_are_left_alone():
    y = changed(X, Augmentation(flip=True))
    mirrored = [torch.equal(b, a.flip(-1)) for a, b in zip(X, y, strict=True)]
    unchanged = [torch.equal(b, a) for a, b in zip(X, y, strict=True)]
    assert [a or b for a, b in zip(mirrored, unchanged, strict=True)] == [True] * 60
    assert 15 < sum(mirrored) < 45


def test_images_are_turned_by_all_four_angles():
    y = changed(X, Augmentation(turn=True))
    turns = [[torch.equal(b, a.rot90(t, (-2, -1))) for t in range(4)] for a, b in zip(X, y, strict=True)]
    assert all(sum(row) == 1 for row in turns)
    assert min(map(sum, zip(*turns, strict=True))) > 5


@pytest.mark.parametrize("pixels", [Pixels(), normalised_pixels(False, [[0.5, 0.4, 0.3], [0.2, 0.1, 0.3]])], ids=str)
def test_a_crop_is_the_image_moved_by_up_to_so_many_pixels_with_black_margins(pixels):
    mean, std = (torch.tensor(v or (d,)).view(-1, 1, 1) for v, d in ((pixels.mean, 0.0), (pixels.std, 1.0)))
    y = changed((X - mean) / std, Augmentation(crop=2), pixels)
    padded = (torch.nn.functional.pad(X, (2, 2, 2, 2)) - mean) / std
    seen = set()
    for a, b in zip(padded, y, strict=True):
        fits = [(i, j) for i in range(5) for j in range(5) if torch.equal(a[:, i : i + 8, j : j + 8], b)]
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) > 15


def test_brightness_is_one_factor_for_each_image_within_its_limits():
    dark = X * 0.5
    y = changed(dark, Augmentation(brightness=0.3))
    factors = (y / dark.clamp(min=1e-6)).flatten(1)
    known = dark.flatten(1) > 0.05
    for row, where in zip(factors, known, strict=True):
        assert float(row[where].max() - row[where].min()) < 1e-4
        assert 0.7 <= float(row[where].mean()) <= 1.3
    assert float(factors[:, 0].std()) > 0.05


def test_contrast_leaves_the_mean_grey_and_saturation_the_grey_of_each_pixel():
    weights = torch.tensor([0.2989, 0.587, 0.114]).view(-1, 1, 1)
    middle = 0.4 + 0.2 * X  # so that nothing is cut off at 0 or 1
    grey = (middle * weights).sum(1)
    y = changed(middle, Augmentation(contrast=0.4))
    torch.testing.assert_close((y * weights).sum(1).mean((1, 2)), grey.mean((1, 2)), atol=3e-4, rtol=0)
    assert not torch.allclose((y * weights).sum(1), grey, atol=1e-2)
    y = changed(middle, Augmentation(saturation=0.4))
    torch.testing.assert_close((y * weights).sum(1), grey, atol=3e-4, rtol=0)
    assert not torch.allclose(y, middle, atol=1e-2)


def test_colours_are_changed_as_before_mean_and_std():
    pixels = normalised_pixels(False, [0.5, 0.2])
    augmentation = Augmentation(brightness=0.5, contrast=0.5, saturation=0.5)
    y = changed((X - 0.5) / 0.2, augmentation, pixels)
    torch.testing.assert_close(y * 0.2 + 0.5, changed(X, augmentation), atol=1e-5, rtol=0)
    assert float((y * 0.2 + 0.5).min()) > -1e-5
    assert float((y * 0.2 + 0.5).max()) < 1 + 1e-5


@pytest.mark.parametrize(
    ("augmentation", "dataset", "message"),
    [
        (Augmentation(flip=True), data(torch.randn(60, 5)), r"an example of this dataset has the shape \(5,\)"),
        (Augmentation(turn=True), data(images()[..., :7]), r"augment\.turn=true needs square images; these are 8 x 7"),
        (Augmentation(crop=8), data(), r"augment\.crop=8 pads images of 8 x 8 pixels by their whole side"),
        (Augmentation(contrast=0.1), data(torch.rand(60, 3, 8, 8)), "stored as bytes; these are floats"),
        (Augmentation(saturation=0.1), data(images(1)), "needs images with 3 channels; these have 1"),
    ],
)
def test_what_cannot_be_changed_is_refused(augmentation, dataset, message):
    with pytest.raises(ConfigError, match=message):
        source(augmentation, dataset)
    source(Augmentation(), dataset)


def test_float_images_can_be_moved():
    dataset = data(torch.rand(60, 3, 8, 8))
    assert not same(
        source(Augmentation(flip=True), dataset).episodes("train", torch.arange(3)),
        dataset.tasks(SHAPE, 0).episodes("train", torch.arange(3)),
    )
