import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metaexp.core.errors import ConfigError, DataError
from metaexp.core.shapes import SPLITS, Capacity, TaskShape
from metaexp.data.classification.random_split import checked_fractions, split_by_fractions
from metaexp.data.image_folder import ImageFolder


def dataset(**changes: object) -> ImageFolder:
    arguments = {
        "folder": "images",
        "image_size": 8,
        "channels": 3,
        "fractions": [0.5, 0.25, 0.25],
        "split_seed": 0,
        "invert": False,
        "normalise": None,
        "rotations": "none",
        "rotations_in": "all",
    }
    return ImageFolder(**{**arguments, **changes})


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (8, 8), kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def write(root: Path, names: list[str], **options: object) -> None:
    """One picture per name; the number of its class and its own are its red and green."""
    folders = sorted({name.rpartition("/")[0] for name in names})
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture((folders.index(name.rpartition("/")[0]), i, 0), **options))


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


SPLIT = [
    f"{s}/{c}/{i}.png"
    for s, classes in {"train": "abcd", "val": "ef", "test": "gh"}.items()
    for c in classes
    for i in range(3)
]
FLAT = [f"{c}/{i}.png" for c in "abcdefgh" for i in range(3)]


def test_folders_named_after_splits_are_the_split(data):
    write(data / "images", SPLIT)
    loaded = dataset().load(data, print)
    assert loaded.capacity() == {"train": Capacity(4, 3), "val": Capacity(2, 3), "test": Capacity(2, 3)}
    assert loaded.class_names["test"] == ("test/g", "test/h")
    x = loaded.tasks(TaskShape(2, 1, 2), 0).episodes("test", torch.arange(10)).query.x
    assert x.shape == (10, 4, 3, 8, 8)
    red = (x[:, :, 0] * 255).round().long().unique().tolist()
    assert red == [bank_index("test/g"), bank_index("test/h")]


def bank_index(folder: str) -> int:
    return sorted({name.rpartition("/")[0] for name in SPLIT}).index(folder)


def test_other_folders_are_divided_by_fractions_and_seed(data):
    write(data / "images", FLAT)
    loaded = dataset().load(data, print)
    assert [len(loaded.class_names[s]) for s in SPLITS] == [4, 2, 2]
    assert sorted(c for s in SPLITS for c in loaded.class_names[s]) == list("abcdefgh")
    assert dataset().load(data, print).digest == loaded.digest
    assert dataset(split_seed=1).load(data, print).digest != loaded.digest


def test_nested_folders_zips_and_an_archives_own_root_are_understood(data):
    write(data / "images", [f"{s}/alphabet/{c}/{i}.png" for s in SPLITS for c in (s[:2], s[:2] * 2) for i in range(2)])
    assert dataset().load(data, print).class_names["val"] == ("val/alphabet/va", "val/alphabet/vava")
    with zipfile.ZipFile(data / "all.zip", "w") as archive:
        for name in SPLIT:
            archive.writestr(f"mine/{name}", picture((1, 2, 3)))
    assert dataset(folder="all.zip").load(data, print).class_names["test"] == ("mine/test/g", "mine/test/h")


def test_any_size_and_format_is_brought_to_the_size_and_channels(data):
    write(data / "images", FLAT[:12], size=(31, 17), kind="PNG")
    for name in FLAT[12:]:
        path = data / "images" / name.replace(".png", ".JPG")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture((9, 9, 9), (5, 60), "JPEG"))
    assert dataset(image_size=13).load(data, print).input_shape == (3, 13, 13)
    assert dataset(channels=1).load(data, print).input_shape == (1, 8, 8)


def test_a_changed_file_is_noticed_and_an_unchanged_folder_is_not_read_again(data):
    write(data / "images", FLAT)
    lines: list[str] = []
    first = dataset().load(data, lines.append)
    again = dataset().load(data, lines.append)
    assert again.digest == first.digest
    assert sum("Reading images" in line for line in lines) == 1
    (data / "images" / "a" / "0.png").write_bytes(picture((200, 200, 200)))
    assert dataset().load(data, lines.append).digest != first.digest
    assert sum("Reading images" in line for line in lines) == 2


def test_a_class_in_two_splits_is_refused(data):
    write(data / "images", [f"{s}/{c}/{i}.png" for s in SPLITS for c in "ab" for i in range(2)])
    with pytest.raises(DataError, match=r"class a is in train and in val\. In meta-learning the classes"):
        dataset().load(data, print)


def test_a_split_that_is_not_complete_is_refused(data):
    write(data / "images", [name for name in SPLIT if not name.startswith("val")])
    with pytest.raises(DataError, match="has the folders test, train: for a split of your own, have exactly"):
        dataset().load(data, print)


def test_only_one_split_is_not_taken_for_an_archives_root(data):
    write(data / "images", [name for name in SPLIT if name.startswith("train")])
    with pytest.raises(DataError, match="has the folders train: for a split"):
        dataset().load(data, print)


def test_missing_and_empty_folders_are_refused(data):
    with pytest.raises(DataError, match=r"dataset.folder=images: there is no .*images\. Give a folder of images"):
        dataset().load(data, print)
    write(data / "images", ["loose.png", "a/.hidden.png", "__MACOSX/a/b.png"])
    (data / "images" / "a" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="has no folders with images in them"):
        dataset().load(data, print)


def test_a_file_that_is_no_image_is_named(data):
    write(data / "images", FLAT)
    (data / "images" / "b" / "1.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"images: b/1.png is not an image that can be read"):
        dataset().load(data, print)


def test_fewer_than_three_classes_cannot_be_divided(data):
    write(data / "images", FLAT[:6])
    with pytest.raises(DataError, match="2 classes cannot be divided into train, val and test"):
        dataset().load(data, print)


@pytest.mark.parametrize("n", [3, 4, 5, 10, 101])
@pytest.mark.parametrize("fractions", [(0.64, 0.16, 0.2), (0.01, 0.01, 0.98), (0.98, 0.01, 0.01), (0.01, 0.98, 0.01)])
def test_every_split_gets_a_class_and_none_is_lost(n, fractions):
    names = [f"class {i}" for i in range(n)]
    splits = split_by_fractions(names, fractions, 0)
    assert sorted(c for s in SPLITS for c in splits[s]) == sorted(names)
    assert all(splits[s] for s in SPLITS)


def test_a_new_class_moves_few_others():
    names = [f"class {i}" for i in range(200)]
    before, after = (split_by_fractions(n, (0.6, 0.2, 0.2), 0) for n in (names, [*names, "new"]))
    assert len(set(before["test"]) - set(after["test"])) <= 2
    assert split_by_fractions(reversed(names), (0.6, 0.2, 0.2), 0) == before
    assert len(set(before["test"]) - set(split_by_fractions(names, (0.6, 0.2, 0.2), 1)["test"])) > 10


@pytest.mark.parametrize("fractions", [[0.5, 0.5], [0.5, 0.5, 0.0], [0.5, 0.6, 0.2], [1.2, -0.1, -0.1]])
def test_impossible_fractions_are_refused(fractions):
    with pytest.raises(ConfigError, match="must be three positive numbers that add up to 1"):
        checked_fractions(fractions)


def test_colours_arrive_in_the_order_red_green_blue(data):
    write(data / "images", FLAT)
    (data / "images" / "a" / "0.png").write_bytes(picture((255, 128, 0)))
    loaded = dataset().load(data, print)
    assert np.allclose(loaded.examples(torch.tensor([0]))[0, :, 0, 0], [1.0, 128 / 255, 0.0], atol=1e-6)
