"""learn2learn's files are read as they are: small files of the same layout, written as learn2learn's data were."""

from __future__ import annotations

import importlib.util
import io
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from class_datasets import check_ids_by_name
from PIL import Image

from metaexp.core.errors import DataError, MissingDataError
from metaexp.core.shapes import SPLITS, Capacity, TaskShape
from metaexp.data.files.class_lists import class_lists
from metaexp.data.mini_imagenet import MiniImageNet
from metaexp.data.omniglot import Omniglot
from metaexp.data.wrapped import learn2learn as module
from metaexp.data.wrapped.learn2learn import Learn2Learn

MODES = {"train": "train", "val": "validation", "test": "test"}


class Trap:
    """Would run code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('the pickle ran code')",))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def described(name: str, root: str | None = None, image_size: int | None = None) -> Learn2Learn:
    return Learn2Learn(name, root, image_size, None, "maml", "per_class")


def png(colour: tuple[int, int, int], size: int = 4) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(file, "PNG")
    return file.getvalue()


def write_mini(root: Path, ending: str = "pkl") -> None:
    root.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        classes = list(class_lists("mini_imagenet")[split])
        images = np.repeat(np.arange(len(classes), dtype=np.uint8), 600)[:, None, None, None] * np.ones(
            (1, 2, 2, 3), np.uint8
        )
        content = {
            "image_data": images,
            "class_dict": {c: list(range(600 * i, 600 * (i + 1))) for i, c in enumerate(classes)},
        }
        (root / f"mini-imagenet-cache-{MODES[split]}.{ending}").write_bytes(pickle.dumps(content, 2))


def write_tiered(root: Path) -> None:
    place = root / "tiered-imagenet"
    place.mkdir(parents=True)
    for split in SPLITS:
        names = list(class_lists("tiered_imagenet")[split])
        labels = np.repeat(np.arange(len(names)), 2)
        pngs = [np.frombuffer(png((int(label) % 256, int(label) // 256, 0)), np.uint8) for label in labels]
        content = {"label_specific": labels, "label_specific_str": names, "label_general": labels}
        (place / f"{split}_images_png.pkl").write_bytes(pickle.dumps(pngs, 2))
        (place / f"{split}_labels.pkl").write_bytes(pickle.dumps(content, 2))


def write_fc100(root: Path, n: int = 3, drop: int = 0) -> None:
    root.mkdir(parents=True, exist_ok=True)
    first = 0
    for split, classes in (("train", 60), ("val", 20), ("test", 20)):
        labels = np.repeat(np.arange(first, first + classes), n)
        images = labels.astype(np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
        labels = labels[drop:]
        content = {"data": images[drop:], "labels": labels.tolist()}
        (root / f"FC100_{split}.pickle").write_bytes(pickle.dumps(content, 2))
        first += classes


def write_cifarfs(root: Path, raw: bool, n: int = 2) -> None:
    for split in SPLITS:
        names = [name.rpartition("/")[2] for name in class_lists("cifar_fs")[split]]
        for number, name in enumerate(names):
            folder = root / "cifarfs" / ("cifar100/data" if raw else f"processed/{split}") / name
            folder.mkdir(parents=True)
            for i in range(n):
                (folder / f"{i}.png").write_bytes(png((number, i, 7), 32))
        if raw:
            lists = root / "cifarfs" / "cifar100" / "splits" / "bertinetto"
            lists.mkdir(parents=True, exist_ok=True)
            (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))


@pytest.mark.parametrize("ending", ["pkl", "pickle"])
def test_mini_imagenet_is_the_same_data_as_metaexps_own(data: Path, ending: str) -> None:
    write_mini(data / "learn2learn", ending)
    loaded = described("mini-imagenet", image_size=2).load(data, print)
    check_ids_by_name(described("mini-imagenet"), data, loaded)
    assert loaded.capacity() == {"train": Capacity(64, 600), "val": Capacity(16, 600), "test": Capacity(20, 600)}
    write_mini(data / "mini_imagenet")
    assert MiniImageNet(2, None).load(data, print).digest == loaded.digest


def test_tiered_imagenet_is_read(data: Path) -> None:
    write_tiered(data / "l2l")
    dataset = described("tiered-imagenet", image_size=4)
    loaded = dataset.load(data, print)
    check_ids_by_name(dataset, data, loaded)
    assert [loaded.capacity()[split].n_classes for split in SPLITS] == [351, 97, 160]
    assert loaded.class_names["test"] == class_lists("tiered_imagenet")["test"]


def test_fc100_is_read(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGES", 3)
    write_fc100(data / "somewhere")
    loaded = described("fc100", root="somewhere").load(data, print)
    assert {split: tuple(c) for split, c in loaded.capacity().items()} == {
        "train": (60, 3), "val": (20, 3), "test": (20, 3)
    }  # fmt: skip
    support = loaded.tasks(TaskShape(5, 1, 1), 0).episodes("val", torch.arange(20)).support
    assert support.x.shape == (20, 5, 3, 32, 32)
    shown = {int(v) for v in (support.x * 255).round().unique()}
    assert shown <= set(range(60, 80))
    assert loaded.class_names["test"][0] == "test/080"
    assert described("fc100").class_ids_in(data) is None


@pytest.mark.parametrize("raw", [True, False])
def test_cifar_fs_is_read_before_and_after_learn2learn_has_sorted_it(
    data: Path, monkeypatch: pytest.MonkeyPatch, raw: bool
) -> None:
    monkeypatch.setattr(module, "IMAGES", 2)
    write_cifarfs(data, raw)
    loaded = described("cifarfs").load(data, print)
    check_ids_by_name(described("cifarfs"), data, loaded)
    assert [loaded.capacity()[split].n_classes for split in SPLITS] == [64, 16, 20]
    assert loaded.class_names["val"] == class_lists("cifar_fs")["val"]


def test_cifar_fs_with_a_class_in_another_split_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGES", 2)
    write_cifarfs(data, raw=False)
    name = class_lists("cifar_fs")["val"][0].rpartition("/")[2]
    processed = data / "cifarfs" / "processed"
    (processed / "val" / name).rename(processed / "train" / name)
    with pytest.raises(DataError, match=r"is not CIFAR-FS \(train\) as published: class .* does not belong there"):
        described("cifarfs").load(data, print)


def test_omniglot_is_metaexps_own_in_grey_from_torchvisions_folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class AskedError(Exception):
        """Raised where the files would be read, which tests/data/test_omniglot.py does."""

    def prepare(self: Omniglot, folder: Path, progress: object) -> None:
        raise AskedError(folder, vars(self))

    for name in ("images_background", "images_evaluation"):
        (data / "omniglot-py" / name).mkdir(parents=True)
    monkeypatch.setattr(Omniglot, "_prepare", prepare)
    with pytest.raises(AskedError) as asked:
        described("omniglot").load(data, print)
    folder, settings = asked.value.args
    assert folder == data / "omniglot-py"

    def differing(own: Omniglot) -> set[str]:
        return {name for name, value in vars(own).items() if settings[name] != value}

    assert differing(Omniglot("maml", "per_class", "all", 28, "lanczos", True, None)) == set()
    assert "resize" in differing(Omniglot("maml", "per_class", "all", 28, "nearest", True, None))


def test_a_pickle_that_calls_something_is_refused_and_nothing_is_called(data: Path) -> None:
    write_fc100(data)
    (data / "FC100_train.pickle").write_bytes(pickle.dumps({"data": Trap(), "labels": []}))
    with pytest.raises(DataError, match=r"wants to call builtins.exec, which no dataset needs; it was not called"):
        described("fc100").load(data, print)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data": np.zeros((2, 4, 4, 3), np.uint8)}, r"does not hold data \(n, 32, 32, 3\) and labels"),
        ({"data": np.zeros((2, 48), np.uint8), "labels": [0, 1]}, r"does not hold data \(n, 32, 32, 3\)"),
        ({"data": np.zeros((2, 4, 4, 3), np.uint8), "labels": [0]}, "holds 2 images and 1 labels"),
        ({"data": np.zeros((2, 4, 4, 3), np.uint8), "labels": [0, 0.5]}, "labels must be whole numbers"),
        ([1], r"does not hold data"),
        ({"data": np.zeros((2, 4, 4, 3), np.uint8), "labels": [0, 1]}, "it has 2 classes, the smallest of 1 images"),
    ],
)
def test_pickles_of_another_make_are_refused(data: Path, content: Any, message: str) -> None:
    write_fc100(data)
    (data / "FC100_train.pickle").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=message):
        described("fc100").load(data, print)


def test_too_few_images_of_a_class_are_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGES", 3)
    write_fc100(data, drop=1)
    with pytest.raises(DataError, match=r"the smallest of 2 images; there should be 60 of 3"):
        described("fc100").load(data, print)


@pytest.mark.parametrize("name", ["mini-imagenet", "tiered-imagenet", "fc100", "cifarfs", "omniglot"])
def test_without_files_it_says_where_it_looked_and_how_learn2learn_keeps_them(data: Path, name: str) -> None:
    dataset = described(name)
    with pytest.raises(MissingDataError, match=rf"{name} are not in {data}/learn2learn, .*dataset.root=FOLDER"):
        dataset.load(data, print)
    assert "dataset.root=FOLDER" in dataset.sources(data).advice
    assert list(data.iterdir()) == []


def test_half_of_the_files_are_not_taken(data: Path) -> None:
    write_fc100(data)
    (data / "FC100_test.pickle").unlink()
    with pytest.raises(MissingDataError):
        described("fc100").load(data, print)


def theirs(file: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """learn2learn's own module of a dataset, without the rest of learn2learn, which needs torchvision."""
    found = importlib.util.find_spec("learn2learn")
    if found is None or not found.submodule_search_locations:
        pytest.skip("learn2learn is not installed (make learn2learn)")
    place = Path(found.submodule_search_locations[0]) / "vision" / "datasets" / f"{file}.py"
    stubs = {name: ModuleType(name) for name in ("learn2learn", "learn2learn.data", "learn2learn.data.utils")}
    for name, stub in stubs.items():
        monkeypatch.setitem(sys.modules, name, stub)
    for function in ("download_file", "download_file_from_google_drive"):
        setattr(stubs["learn2learn.data.utils"], function, None)
    spec = importlib.util.spec_from_file_location(f"theirs_{file}", place)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def sorted_images(images: np.ndarray) -> list[bytes]:
    return sorted(np.ascontiguousarray(image).tobytes() for image in images)


@pytest.mark.learn2learn
def test_learn2learns_own_class_reads_the_same_fc100(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGES", 3)
    write_fc100(data)
    ours = described("fc100").load(data, print)
    cls = theirs("fc100", monkeypatch).FC100
    for split in SPLITS:
        their = cls(str(data), mode=MODES[split])
        rows = torch.cat([torch.arange(3) + first for first in ours.table(split).first])
        images = (ours.examples(rows) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        assert sorted_images(images) == sorted_images(np.stack([np.asarray(their[i][0]) for i in range(len(their))]))
        assert len({their[i][1] for i in range(len(their))}) == ours.capacity()[split].n_classes


@pytest.mark.learn2learn
def test_learn2learns_own_class_reads_the_same_mini_imagenet(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mini(data)
    ours = described("mini-imagenet", image_size=2).load(data, print)
    their = theirs("mini_imagenet", monkeypatch).MiniImagenet(str(data), mode="validation")
    first = ours.table("val").first
    images = (ours.examples(first) * 255).round()
    order = [list(their.data["class_dict"]).index(name) for name in ours.class_names["val"]]
    by_class = [their.x[int(np.flatnonzero(their.y == number)[0])] for number in order]
    assert torch.equal(images, torch.stack(by_class))
    assert not torch.equal(images, torch.stack(by_class[::-1]))
