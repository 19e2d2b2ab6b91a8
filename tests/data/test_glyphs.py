"""Glyphs: the dataset made of drawn programs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from metaexp.core.shapes import Capacity, Split, TaskShape
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.glyph import drawing as glyph_drawing
from metaexp.data.glyphs import Glyphs

COUNTS: dict[Split, int] = {"train": 40, "val": 10, "test": 60}


def load(
    folder: Path, train: int = 40, val: int = 10, test: int = 60, per_class: int = 20, seed: int = 0
) -> ClassDataset:
    glyphs = Glyphs(train, val, test, per_class, seed).load(folder, lambda line: None)
    assert isinstance(glyphs, ClassDataset)
    return glyphs


def images(glyphs: ClassDataset, per_class: int) -> Tensor:
    """All drawings (C, per_class, 28, 28), in [0, 1]."""
    total = sum(capacity.n_classes for capacity in glyphs.capacity().values())
    return glyphs.examples(torch.arange(total * per_class)).view(total, per_class, 28, 28)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def glyphs(folder: Path) -> ClassDataset:
    return load(folder)


def nearest_neighbour_accuracy(glyphs: ClassDataset, n_episodes: int) -> float:
    episodes = glyphs.tasks(TaskShape(5, 1, 15), seed=1000).episodes("test", torch.arange(n_episodes))
    nearest = torch.cdist(episodes.query.x.flatten(2), episodes.support.x.flatten(2)).argmin(-1)
    predicted = episodes.support.y.gather(1, nearest)
    return float((predicted == episodes.query.y).float().mean())


def test_the_dataset_is_these_very_bits(glyphs: ClassDataset) -> None:
    """A change here means other pixels: raise _VERSION of metaexp.data.glyphs, or old caches would be used."""
    assert glyphs.origin.digest == "a786742a988aa2aa3be25181797e67b49e239b35ac3f37de7b3d4dc9960a867b"


def test_another_seed_gives_other_characters(glyphs: ClassDataset, folder: Path) -> None:
    other = load(folder, seed=1)
    assert other.digest != glyphs.digest
    alike = (images(glyphs, 20) == images(other, 20)).flatten(1).all(1)
    assert not alike.any()


def test_nearest_neighbour_on_pixels_is_better_than_chance_and_far_from_perfect(glyphs: ClassDataset) -> None:
    assert 0.45 < nearest_neighbour_accuracy(glyphs, 400) < 0.75


def test_the_second_load_draws_nothing(glyphs: ClassDataset, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr(glyph_drawing, "draw_classes", refuse)
    assert load(folder).digest == glyphs.digest
    with pytest.raises(AssertionError, match="drawn again"):
        load(folder, seed=2)


def test_more_classes_and_drawings_keep_what_was_there(glyphs: ClassDataset, folder: Path) -> None:
    larger = load(folder, train=50, val=11, test=60, per_class=21)
    few, many = images(glyphs, 20), images(larger, 21)
    assert torch.equal(few[:40], many[:40, :20])
    assert torch.equal(few[40:50], many[50:60, :20])
    assert torch.equal(few[50:], many[61:, :20])
    assert not torch.equal(few[40:50], many[40:50, :20])


def test_capacity_is_what_was_configured(glyphs: ClassDataset) -> None:
    expected = {split: Capacity(n, 20) for split, n in COUNTS.items()}
    assert Glyphs(40, 10, 60, 20, 0).capacity() == expected == glyphs.capacity()


def test_every_drawing_has_ink_in_grey_levels_and_no_two_are_the_same(glyphs: ClassDataset) -> None:
    drawings = images(glyphs, 20).flatten(0, 1)
    assert (drawings.flatten(1).amax(1) > 0.8).all()
    coverage = drawings.mean((1, 2))
    assert 0.015 < float(coverage.min()) < float(coverage.max()) < 0.35
    assert 0.07 < float(coverage.mean()) < 0.14
    assert len(torch.unique(drawings)) > 100
    assert len(torch.unique(drawings.flatten(1), dim=0)) == len(drawings)
