"""Numbers in published files that NumPy would convert into others without a word: fractions, overflows, duplicates."""

import io
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaexp.core.errors import DataError
from metaexp.core.shapes import SPLITS, Capacity
from metaexp.data import cifar100, mini_imagenet
from metaexp.data.cifar100 import CifarFS
from metaexp.data.files.class_lists import class_lists
from metaexp.data.files.published_numbers import pixels, whole_numbers
from metaexp.data.mini_imagenet import MiniImageNet
from metaexp.data.tiered_imagenet import TieredImageNet

FIRST = class_lists("mini_imagenet")["train"][0]


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(mini_imagenet, "IMAGES", 2)
    monkeypatch.setattr(cifar100, "IMAGES", 6)
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def write_mini(folder: Path, change) -> None:
    for split in SPLITS:
        names = class_lists("mini_imagenet")[split]
        images = np.random.default_rng(0).integers(0, 256, (2 * len(names), 4, 4, 3)).astype(np.uint8)
        content = {"image_data": images, "class_dict": {name: [2 * i, 2 * i + 1] for i, name in enumerate(names)}}
        if split == "train":
            change(content)
        (folder / f"mini-imagenet-cache-{split}.pkl").write_bytes(pickle.dumps(content, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(image_data=c["image_data"] / 255), r"image_data must be pixels .* it is float64. Save it"),
        (lambda c: c.update(image_data=c["image_data"].astype(int) + 9), r"image_data must be pixels .* to 264\."),
        (lambda c: c.update(image_data=c["image_data"].astype(int) - 9), r"image_data must be pixels .* from -9 to"),
        (lambda c: c["class_dict"].update({FIRST: [0, 0]}), "class_dict names image 0 twice"),
        (lambda c: c["class_dict"].update({FIRST: [2, 3]}), "class_dict names image 2 twice"),
        (
            lambda c: c["class_dict"].update({FIRST: [0.4, 1.7]}),
            r"class_dict\[n01532829\] .* from 0 to 127; it is float",
        ),
        (lambda c: c["class_dict"].update({FIRST: ["a", "b"]}), r"class_dict\[n01532829\] must be whole numbers"),
        (lambda c: c["class_dict"].update({FIRST: [2**70, 1]}), r"class_dict\[n01532829\] must be whole numbers"),
        (lambda c: c["class_dict"].update({FIRST: [0, 128]}), r"they go from 0 to 128\."),
    ],
)
def test_mini_imagenet_with_other_numbers_than_its_own_is_refused(data, change, message):
    write_mini(data, change)
    with pytest.raises(DataError, match=message):
        MiniImageNet(4, None).load(data, print)


def test_mini_imagenet_with_its_own_numbers_is_read(data):
    write_mini(data, lambda _: None)
    assert MiniImageNet(4, None).load(data, print).capacity()["train"] == Capacity(64, 2)


def write_tiered(folder: Path, change) -> None:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    for split in SPLITS:
        names = list(class_lists("tiered_imagenet")[split])
        labels = {"label_specific": np.repeat(np.arange(len(names)), 2), "label_specific_str": names}
        if split == "val":
            change(labels)
        images = [np.frombuffer(file.getvalue(), np.uint8)] * (2 * len(names))
        (folder / f"{split}_images_png.pkl").write_bytes(pickle.dumps(images, 2))
        (folder / f"{split}_labels.pkl").write_bytes(pickle.dumps(labels, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c.update(label_specific=c["label_specific"] + 0.6),
            "label_specific must be whole .* to 96; it is fl",
        ),
        (lambda c: c.update(label_specific=[2**70] * 194), "label_specific must be whole numbers from 0 to 96"),
        (lambda c: c.update(label_specific=[[1], [2, 3]]), "label_specific must be whole .*; it is something else"),
        (lambda c: c.update(label_specific_str=5), "names no class in label_specific_str"),
    ],
)
def test_tiered_imagenet_with_other_labels_than_its_own_is_refused(data, change, message):
    write_tiered(data, change)
    with pytest.raises(DataError, match=message):
        TieredImageNet(4, None).load(data, print)


def test_the_images_of_tiered_imagenet_are_counted_from_its_labels(data):
    write_tiered(data, lambda c: c.update(label_specific=np.array([0, *range(96), *range(97)])))  # class 96 has one
    found = TieredImageNet(4, None).capacity_in(data)
    assert found == {"train": Capacity(351, 2), "val": Capacity(97, 1), "test": Capacity(160, 2)}
    assert TieredImageNet(4, None).load(data, print).capacity() == found


def test_the_images_of_tiered_imagenet_are_counted_in_its_folders(data):
    image = io.BytesIO()
    Image.new("RGB", (4, 4)).save(image, "PNG")
    for split, names in class_lists("tiered_imagenet").items():
        for name in names:
            folder = data / "tiered_imagenet" / split / name
            folder.mkdir(parents=True)
            (folder / "notes.txt").write_text("no image")
            for i in range(1 if name == names[3] and split == "val" else 2):
                (folder / f"{i}.png").write_bytes(image.getvalue())
    found = TieredImageNet(4, None).capacity_in(data)
    assert found == {"train": Capacity(351, 2), "val": Capacity(97, 1), "test": Capacity(160, 2)}
    assert TieredImageNet(4, None).load(data, print).capacity() == found
    shutil.rmtree(folder)
    assert TieredImageNet(4, None).capacity_in(data)["test"] == Capacity(160, 0)


def write_cifar(folder: Path, change) -> None:
    fine = sorted(name for names in class_lists("cifar_fs").values() for name in names)
    coarse = sorted({name.split("/")[0] for name in fine})
    meta = {"fine_label_names": [name.split("/")[1] for name in fine], "coarse_label_names": coarse}
    parts: dict[str, object] = {"meta": meta}
    for part, n in (("train", 4), ("test", 2)):
        labels = np.repeat(np.arange(100), n)
        parts[part] = {
            "data": np.zeros((len(labels), 3072), np.uint8),
            "fine_labels": labels.tolist(),
            "coarse_labels": [coarse.index(fine[i].split("/")[0]) for i in labels],
        }
    change(parts)
    with tarfile.open(folder / "cifar-100-python.tar.gz", "w:gz", compresslevel=1) as archive:
        for name, content in parts.items():
            written = pickle.dumps(content, 2)
            info = tarfile.TarInfo(f"cifar-100-python/{name}")
            info.size = len(written)
            archive.addfile(info, io.BytesIO(written))


def shift(parts) -> None:
    """Lengths that differ in each part and agree in sum, so that all labels after the first part are those before."""
    parts["train"]["data"], parts["test"]["data"] = np.zeros((399, 3072), np.uint8), np.zeros((201, 3072), np.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shift, r"train: data is of shape \(399, 3072\), fine_labels has 400 labels"),
        (lambda p: p["test"].update(data=p["test"]["data"].astype(int) + 300), "test: data must be pixels .* to 300"),
        (lambda p: p["test"].update(data=p["test"]["data"] + 0.5), "test: data must be pixels .* it is float64"),
        (lambda p: p["test"].update(data=[[300] * 3072] * 200), "test: data must be pixels"),
        (lambda p: p["train"].update(fine_labels=[i + 0.5 for i in p["train"]["fine_labels"]]), "fine_labels must be"),
        (lambda p: p["train"].update(fine_labels=[2**70] * 400), "fine_labels must be whole numbers from 0 to 99"),
        (lambda p: p["train"].update(coarse_labels=[-1] * 400), "coarse_labels must be whole .* from -1 to -1"),
        (lambda p: p["train"]["coarse_labels"].__setitem__(0, 19), "class beaver is in 2 superclasses"),
        (lambda p: p.update(meta=[1]), "does not hold CIFAR-100 as published .*Replace it"),
        (lambda p: p["train"].pop("coarse_labels"), "does not hold CIFAR-100 as published .*Replace it"),
    ],
)
def test_cifar_with_other_numbers_than_its_own_is_refused(data, change, message):
    write_cifar(data, change)
    with pytest.raises(DataError, match=message):
        CifarFS(None).load(data, print)


def test_cifar_with_its_own_numbers_is_read(data):
    write_cifar(data, lambda _: None)
    assert CifarFS(None).load(data, print).capacity()["test"] == Capacity(20, 6)


@pytest.mark.parametrize("values", [[], [0, 3], np.array([[1], [2]], np.uint8), np.array([0, 3], np.uint64)])
def test_whole_numbers_within_the_bounds_are_kept(values):
    assert whole_numbers(values, "x", 3).tolist() == np.asarray(values).reshape(-1).tolist()


@pytest.mark.parametrize("values", [[True], 3, "3", None, [None], [4], [-1], [1.0], np.array([2**63], np.uint64)])
def test_anything_else_is_refused_by_name(values):
    with pytest.raises(DataError, match="^the file: y must be whole numbers from 0 to 3; "):
        whole_numbers(values, "the file: y", 3)


def test_pixels_of_a_larger_type_are_kept_where_they_fit():
    assert pixels(np.array([0, 255], np.int64), "x").tolist() == [0, 255]
    assert pixels(np.array([0, 255], np.int64), "x").dtype == np.uint8
