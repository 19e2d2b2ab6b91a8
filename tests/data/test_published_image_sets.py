"""mini-ImageNet and tieredImageNet on small data in their published formats; the packaged lists of all sets."""

import csv
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from class_datasets import check_ids_by_name
from PIL import Image

from metaexp.core.errors import DataError
from metaexp.core.shapes import SPLITS, Capacity, TaskShape
from metaexp.data import mini_imagenet
from metaexp.data.cub import CUB
from metaexp.data.files.class_lists import class_lists
from metaexp.data.mini_imagenet import MiniImageNet
from metaexp.data.tiered_imagenet import TieredImageNet


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def encoded(array: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


def solid(*colour: int, size: tuple[int, int] = (4, 4)) -> np.ndarray:
    return np.full((*size, 3), colour, np.uint8)


@pytest.mark.parametrize("name", ["mini_imagenet", "tiered_imagenet", "cifar_fs", "fc100", "cub"])
def test_packaged_lists_have_their_published_sizes_and_share_no_class(name):
    sizes = {
        "mini_imagenet": (64, 16, 20),
        "tiered_imagenet": (351, 97, 160),
        "cifar_fs": (64, 16, 20),
        "fc100": (12, 4, 4),
        "cub": (100, 50, 50),
    }
    lists = class_lists(name)
    assert tuple(len(lists[s]) for s in SPLITS) == sizes[name]
    assert len({c for s in SPLITS for c in lists[s]}) == sum(sizes[name])


# mini-ImageNet


def write_mini_pickles(place: Path, protocol: int = 2, drop: int = 0) -> None:
    place.mkdir(parents=True, exist_ok=True)
    names = sorted(c for s in SPLITS for c in class_lists("mini_imagenet")[s])
    for split in SPLITS:
        classes = list(class_lists("mini_imagenet")[split])
        colours = [names.index(c) for c in classes for _ in range(600)]
        images = np.zeros((len(colours), 2, 2, 3), np.uint8)
        images[..., 0] = np.array(colours)[:, None, None]
        images[..., 2] = 200
        places = {c: list(range(600 * i, 600 * (i + 1) - drop)) for i, c in enumerate(classes)}
        content = {"image_data": images, "class_dict": places}
        (place / f"mini-imagenet-cache-{split}.pkl").write_bytes(pickle.dumps(content, protocol))


@pytest.mark.parametrize("protocol", [2, 4])
def test_mini_imagenet_is_read_from_the_published_pickles(data, protocol):
    write_mini_pickles(data / "mini_imagenet", protocol)
    dataset = MiniImageNet(image_size=2, normalise=None)
    loaded = dataset.load(data, print)
    assert (
        loaded.capacity()
        == dataset.capacity()
        == {
            "train": Capacity(64, 600),
            "val": Capacity(16, 600),
            "test": Capacity(20, 600),
        }
    )
    names = sorted(c for s in SPLITS for c in class_lists("mini_imagenet")[s])
    episodes = loaded.tasks(TaskShape(20, 1, 1), 0).episodes("test", torch.arange(3))
    red = (episodes.support.x[:, :, 0, 0, 0] * 255).round().long()
    assert {names[r] for r in red.flatten().tolist()} == set(class_lists("mini_imagenet")["test"])
    assert torch.allclose(episodes.support.x[:, :, 2], torch.tensor(200 / 255))


def test_mini_imagenet_pickles_with_too_few_images_are_refused(data):
    write_mini_pickles(data, drop=1)
    with pytest.raises(
        DataError, match=r"not the whole mini-ImageNet .train.: class n01532829 has 599 images and should"
    ):
        MiniImageNet(2, None).load(data, print)


def test_mini_imagenet_pickles_that_call_something_are_refused(data):
    write_mini_pickles(data)
    (data / "mini-imagenet-cache-val.pkl").write_bytes(b"cos\nsystem\n(Vtrue\ntR.")
    with pytest.raises(DataError, match=r"it wants to call os.system"):
        MiniImageNet(2, None).load(data, print)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"class_dict": {}}, "does not hold image_data"),
        ({"image_data": np.zeros((2, 2, 2), np.uint8), "class_dict": {}}, "does not hold image_data"),
        ({"image_data": np.zeros((1, 2, 2, 3), "U1"), "class_dict": {}}, "does not hold image_data"),
        (
            {"image_data": np.zeros((1, 2, 2, 3), np.uint8), "class_dict": {"a": [1]}},
            r"class_dict\[a\] must be whole numbers from 0 to 0; they go from 1 to 1",
        ),
        (
            {"image_data": np.zeros((1, 2, 2, 3), np.uint8), "class_dict": {"a": "x"}},
            r"class_dict\[a\] must be whole numbers",
        ),
        ([], "does not hold image_data"),
    ],
)
def test_pickles_of_another_make_are_refused(data, content, message):
    write_mini_pickles(data)
    (data / "mini-imagenet-cache-train.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=message):
        MiniImageNet(2, None).load(data, print)


def test_mini_imagenet_is_read_from_the_lists_of_ravi_and_a_folder_of_images(data, monkeypatch):
    monkeypatch.setattr(mini_imagenet, "IMAGES", 2)
    root = data / "mini_imagenet"
    (root / "images").mkdir(parents=True)
    for split in SPLITS:
        with (root / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["filename", "label"])
            for number, name in enumerate(class_lists("mini_imagenet")[split]):
                for i in range(2):
                    writer.writerow([f"{name}{i:08d}.jpg", name])
                    (root / "images" / f"{name}{i:08d}.jpg").write_bytes(encoded(solid(number, 0, 0), "JPEG"))
    loaded = MiniImageNet(4, None).load(data, print)
    check_ids_by_name(MiniImageNet(4, None), data, loaded)
    assert loaded.capacity()["val"] == Capacity(16, 2)
    (root / "images").rename(data.parent / "elsewhere")
    (root / "images").symlink_to(data.parent / "elsewhere")
    linked = data.parent / "elsewhere" / "n0153282900000000.jpg"
    linked.rename(data.parent / "one.jpg")
    linked.symlink_to(data.parent / "one.jpg")
    (root / "unrelated").symlink_to("nowhere")
    assert MiniImageNet(4, None).load(data, print).digest == loaded.digest  # links of the user's own are followed
    (root / "images" / "n0153282900000001.jpg").unlink()
    with pytest.raises(DataError, match=r"lacks 1 of 200 images; the first is n0153282900000001.jpg"):
        MiniImageNet(4, None).load(data, print)


@pytest.mark.parametrize("text", ["filename,label\n" + "x" * 200_000, "a,b\n1,2\n", "filename,label\nx.jpg\n"])
def test_a_list_of_images_that_is_none_is_refused(data, text):
    (data / "mini_imagenet" / "images").mkdir(parents=True)
    for split in SPLITS:
        (data / "mini_imagenet" / f"{split}.csv").write_text(text)
    with pytest.raises(DataError, match=r"train.csv (is not a list of filename,label|must have the columns)"):
        MiniImageNet(4, None).load(data, print)


def test_mini_imagenet_is_read_from_folders(data, monkeypatch):
    monkeypatch.setattr(mini_imagenet, "IMAGES", 1)
    for split in SPLITS:
        for name in class_lists("mini_imagenet")[split]:
            (data / "mini_imagenet" / split / name).mkdir(parents=True)
            (data / "mini_imagenet" / split / name / "x.png").write_bytes(encoded(solid(1, 2, 3)))
    assert MiniImageNet(4, None).load(data, print).capacity()["train"] == Capacity(64, 1)
    (data / "mini_imagenet" / "val" / "n00000000").mkdir()
    (data / "mini_imagenet" / "val" / "n00000000" / "x.png").write_bytes(encoded(solid(1, 2, 3)))
    with pytest.raises(DataError, match=r"not mini-ImageNet .val. as published: class n00000000 does not belong there"):
        MiniImageNet(4, None).load(data, print)


# tieredImageNet


def write_tiered_pickles(place: Path, python_2: bool = False) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        names = list(class_lists("tiered_imagenet")[split])
        order = np.random.default_rng(0).permutation(len(names) * 2)
        labels = (np.arange(len(names) * 2) // 2)[order]
        pngs = [np.frombuffer(encoded(solid(label % 256, label // 256, 0)), np.uint8) for label in labels]
        content = {
            "label_specific": labels,
            "label_specific_str": names,
            "label_general": labels,
            "label_general_str": [],
        }
        if python_2:
            content = {key.encode(): value for key, value in content.items()}
        (place / f"{split}_images_png.pkl").write_bytes(pickle.dumps(pngs, 2))
        (place / f"{split}_labels.pkl").write_bytes(pickle.dumps(content, 2))


@pytest.mark.parametrize("python_2", [False, True])
def test_tiered_imagenet_is_read_from_the_published_pickles(data, python_2):
    write_tiered_pickles(data / "tiered-imagenet", python_2)
    loaded = TieredImageNet(4, None).load(data, print)
    check_ids_by_name(TieredImageNet(4, None), data, loaded)
    assert [loaded.capacity()[s] for s in SPLITS] == [Capacity(351, 2), Capacity(97, 2), Capacity(160, 2)]
    names = class_lists("tiered_imagenet")["train"]
    batch = loaded.batches(300, 0).episodes("train", torch.arange(1)).support
    pixels = (batch.x[0, :, :, 0, 0] * 255).round().long()
    assert [loaded.class_names["train"][label] for label in batch.y[0]] == [names[r + 256 * g] for r, g, _ in pixels]


def test_tiered_imagenet_of_other_classes_is_refused(data):
    write_tiered_pickles(data)
    content = pickle.loads((data / "val_labels.pkl").read_bytes())  # noqa: S301 - our own
    content["label_specific_str"][0] = "n00000000"
    (data / "val_labels.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=r"not tieredImageNet .val. as published: class n02099267 is missing"):
        TieredImageNet(4, None).load(data, print)


@pytest.mark.parametrize(
    ("pngs", "message"),
    [(7, "does not hold a list of PNG"), ([3], "does not hold a list of PNG"), ([b"x"], "holds 1 images")],
)
def test_tiered_imagenet_pickles_of_another_make_are_refused(data, pngs, message):
    write_tiered_pickles(data)
    (data / "train_images_png.pkl").write_bytes(pickle.dumps(pngs))
    with pytest.raises(DataError, match=message):
        TieredImageNet(4, None).load(data, print)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (MiniImageNet(84, None), "mini-imagenet-cache-train.pkl.*train.csv.*one folder of images per class"),
        (TieredImageNet(84, None), "train_images_png.pkl, train_labels.pkl.*one folder of images per class"),
        (CUB(84, False, None), "CUB_200_2011.tgz"),
    ],
)
def test_without_data_it_says_what_to_put_where(data, dataset, message):
    with pytest.raises(DataError, match=f"is not in .*data.*{message}"):
        dataset.load(data, print)
