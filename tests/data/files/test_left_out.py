"""Classes with too few examples, in folders of images and in arrays."""

from pathlib import Path

import numpy as np
import pytest
from class_datasets import check_ids_by_name
from PIL import Image

from metaexp.core.errors import DataError
from metaexp.data.arrays import Arrays
from metaexp.data.files.left_out import large_enough
from metaexp.data.image_folder import ImageFolder


def images(folder, sizes):
    for number, (name, size) in enumerate(sizes.items()):
        (folder / name).mkdir(parents=True)
        for at in range(size):
            Image.fromarray(np.full((4, 4), 10 * number + at, np.uint8)).save(folder / name / f"{at}.png")


def image_folder(least):
    return ImageFolder("mine", 4, 1, [0.5, 0.25, 0.25], 0, False, None, "none", "all", min_images=least)


def test_small_classes_of_images_are_left_out_before_classes_are_divided(tmp_path):
    images(tmp_path / "mine", {"a": 3, "b": 1, "c": 3, "d": 3, "e": 3})
    said = []
    loaded = image_folder(2).load(tmp_path, said.append)
    assert sorted(sum(loaded.class_names.values(), ())) == ["a", "c", "d", "e"]
    assert any("1 class with fewer than 2 examples (dataset.min_images): b (1)" in line for line in said)
    assert image_folder(2).capacity_in(tmp_path) == loaded.capacity()
    check_ids_by_name(image_folder(2), tmp_path, loaded)
    everything = image_folder(None).load(tmp_path, lambda _: None)
    assert "b" in sum(everything.class_names.values(), ())


def test_a_split_by_folders_stays_and_must_keep_a_class(tmp_path):
    images(tmp_path / "mine", {"train/a": 3, "train/b": 1, "val/c": 3, "test/d": 2})
    loaded = image_folder(2).load(tmp_path, lambda _: None)
    assert loaded.class_names == {"train": ("train/a",), "val": ("val/c",), "test": ("test/d",)}
    with pytest.raises(DataError, match=r"dataset\.min_images=3 leaves nothing in the test split of .*mine"):
        image_folder(3).load(tmp_path, lambda _: None)


def test_small_classes_of_arrays_are_left_out_and_not_called_unlisted(tmp_path):
    y = np.repeat(np.arange(6), [5, 5, 1, 5, 5, 5])
    np.savez(tmp_path / "mine.npz", x=np.arange(26.0)[:, None] + np.zeros((26, 3)), y=y)
    said = []
    data = Arrays("mine.npz", [0.5, 0.25, 0.25], 0, False, None, "none", "all", min_examples=2)
    loaded = data.load(tmp_path, said.append)
    assert sorted(sum(loaded.class_names.values(), ())) == [f"{n:06d}" for n in (0, 1, 3, 4, 5)]
    assert any("dataset.min_examples): 000002 (1)" in line for line in said)
    assert not any("in no class list" in line for line in said)
    assert data.capacity_in(tmp_path) == loaded.capacity()


def test_at_most_five_are_named():
    said = []
    kept = large_enough({f"c{n}": n for n in range(9)}, 8, "min_images", "class", Path("place"), said.append)
    assert kept == {"c8": 8}
    assert said == [
        "Left out of place: 8 classes with fewer than 8 examples (dataset.min_images): c0 (0), c1 (1), c2 (2), c3 (3), "
        "c4 (4) and 3 others."
    ]
