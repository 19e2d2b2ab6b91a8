"""Made-up images in place of a benchmark's: the same shapes, classes and splits, and never taken for the real ones."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from metaexp.config.classes.make import make
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.core.errors import ConfigError, DataError
from metaexp.core.shapes import SPLITS, Capacity, TaskShape
from metaexp.data.base import Dataset
from metaexp.data.cifar100 import FC100, CifarFS
from metaexp.data.cub import CUB
from metaexp.data.files.class_lists import class_lists
from metaexp.data.mini_imagenet import MiniImageNet
from metaexp.data.omniglot import Omniglot
from metaexp.data.stand_in.benchmark import UNTIL_THEN
from metaexp.data.stand_in.draw import draw_class
from metaexp.data.tiered_imagenet import TieredImageNet

LITTLE = {"stand_in": True, "stand_in_images": 4}
OMNIGLOT = {
    "split": "vinyals",
    "rotations": "classes",
    "rotations_in": "train",
    "image_size": 28,
    "resize": "nearest",
    "invert": True,
    "normalise": None,
}
HAVING = sorted(
    path.stem
    for path in (Path(__file__).parents[3] / "conf" / "dataset").glob("*.yaml")
    if "\nstand_in: " in (text := path.read_text()) and "\ndomains:" not in text
)
FITTING = {"omniglot_challenge": ["task=20way_1shot", "task.n_query=1", "eval.episodes=20"]}


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("dataset", "sizes", "shape"),
    [
        (MiniImageNet(16, None, **LITTLE), (64, 16, 20), (3, 16, 16)),
        (TieredImageNet(8, None, **LITTLE), (351, 97, 160), (3, 8, 8)),
        (CUB(12, True, None, **LITTLE), (100, 50, 50), (3, 12, 12)),
        (CifarFS(None, **LITTLE), (64, 16, 20), (3, 32, 32)),
        (FC100(None, **LITTLE), (60, 20, 20), (3, 32, 32)),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "load") else "",
)
def test_it_has_the_shapes_classes_and_splits_of_the_benchmark(data, dataset, sizes, shape):
    lines: list[str] = []
    loaded = dataset.load(data, lines.append)
    assert loaded.capacity() == dataset.capacity() == {s: Capacity(n, 4) for s, n in zip(SPLITS, sizes, strict=True)}
    assert loaded.input_shape == shape
    assert loaded.origin.name.endswith(" (stand-in)")
    assert lines[0].startswith("Warning: dataset.stand_in=true: made-up images in place of ")
    again = dataset.load(data, lines.append)
    assert again.digest == loaded.digest
    assert len(lines) == 4  # the second time it comes from the cache, and warns again


def test_omniglots_has_characters_of_two_grey_levels_and_turns_as_classes(data):
    dataset = Omniglot(**OMNIGLOT, stand_in=True, stand_in_images=1)
    loaded = dataset.load(data, lambda _: None)
    lists = class_lists("omniglot_vinyals")
    assert loaded.capacity() == dataset.capacity()
    assert loaded.capacity()["train"] == Capacity(4 * len(lists["train"]), 1)
    assert loaded.capacity()["test"] == Capacity(len(lists["test"]), 1)
    x = loaded.examples(torch.arange(50))
    assert x.unique().tolist() == [0.0, 1.0]
    assert 0.02 < x.mean() < 0.4  # ink is 1, and there is little of it


def test_the_number_of_images_can_be_that_of_the_benchmark():
    assert MiniImageNet(84, None, stand_in=True).capacity()["test"] == Capacity(20, 40)
    assert MiniImageNet(84, None, stand_in=True, stand_in_images=600).capacity()["test"] == Capacity(20, 600)
    assert Omniglot(**OMNIGLOT, stand_in=True).capacity()["test"].per_class == 20


@pytest.mark.parametrize("make", [lambda **a: MiniImageNet(84, None, **a), lambda **a: Omniglot(**OMNIGLOT, **a)])
def test_a_number_of_made_up_images_without_a_stand_in_is_refused(make):
    with pytest.raises(ConfigError, match=r"dataset.stand_in_images=9 counts made-up images.*dataset.stand_in=true"):
        make(stand_in_images=9)


def test_a_class_is_decided_by_its_name_alone_and_more_images_leave_the_first_as_they_are():
    few, many = draw_class("n01532829", 3, 20), draw_class("n01532829", 70, 20)
    assert np.array_equal(few, many[:3])
    assert not np.array_equal(few, draw_class("n01558993", 3, 20))
    assert len({image.tobytes() for image in many}) == 70


def test_the_drawings_have_the_same_bits_everywhere():
    """A change of them must raise VERSION in draw.py."""
    drawn = np.concatenate([draw_class(name, 5, 33) for name in ("n01532829", "fish/shark", "001.Albatross", "ö")])
    assert (
        hashlib.sha256(drawn.tobytes()).hexdigest()
        == "43566c3ace60eae29b6a9982281185297ef58b7ffafa4c28d0da590678e12e3a"
    )


def test_the_images_can_be_told_apart_and_not_by_their_pixels_alone(data):
    """Nearest neighbour on pixels is far above chance and far from right, as on photographs."""
    tasks = MiniImageNet(32, None, stand_in=True).load(data, lambda _: None).tasks(TaskShape(5, 1, 5), 0)
    episodes = tasks.episodes("test", torch.arange(100))
    distance = torch.cdist(episodes.query.x.flatten(2), episodes.support.x.flatten(2))  # (T, M, S)
    found = episodes.support.y.gather(1, distance.argmin(-1))
    assert 0.33 < (found == episodes.query.y).double().mean() < 0.55


OVERRIDES = ["experiment=proto_net_mini_imagenet_5way_1shot"]


def test_a_stand_in_has_another_name_and_hash_and_its_absence_changes_nothing():
    composer = Composer()
    real = composer.settings(OVERRIDES, Purpose.PLAN)
    made_up = composer.settings([*OVERRIDES, "dataset.stand_in=true"], Purpose.PLAN)
    named = composer.settings([*OVERRIDES, "dataset.stand_in=false"], Purpose.PLAN)
    assert real.config_hash == named.config_hash != made_up.config_hash
    assert real.dataset_name == named.dataset_name == "mini_imagenet"
    assert made_up.dataset_name == "mini_imagenet (stand-in)"
    assert "stand_in" in made_up.name
    assert "stand_in" not in real.name


def test_a_task_that_needs_more_images_than_the_stand_in_has_is_refused_at_the_check():
    with pytest.raises(ConfigError, match=r"need 41 examples per class; mini_imagenet \(stand-in\) has 40"):
        Composer().settings(["dataset=mini_imagenet", "dataset.stand_in=true", "task.n_query=40"], Purpose.PLAN)


@pytest.mark.parametrize("name", ["glyphs", "sinusoid", "image_folder"])
def test_data_that_need_no_stand_in_have_none(name):
    with pytest.raises(ConfigError, match="stand_in"):
        Composer().settings([f"dataset={name}", "dataset.stand_in=true"], Purpose.PLAN)


@pytest.mark.parametrize("name", HAVING)
def test_where_the_files_are_missing_the_message_offers_it(data, monkeypatch, name):
    def no_network(*_: object) -> None:
        raise DataError("Nothing could be fetched.")

    for module in ("omniglot", "cifar100", "icons.archive"):
        monkeypatch.setattr(f"metaexp.data.{module}.download", no_network)
    monkeypatch.setattr("metaexp.data.fonts.find_fonts", lambda _: [])
    found = Composer().settings([f"dataset={name}", *FITTING.get(name, [])], Purpose.PLAN).dataset
    assert "stand_in" in found.parameters
    with pytest.raises(DataError) as error:
        make(found, Dataset).load(data, lambda _: None)
    assert str(error.value).endswith(f" {UNTIL_THEN}")
