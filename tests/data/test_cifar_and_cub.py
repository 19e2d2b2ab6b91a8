"""CIFAR-FS, FC100 and CUB on small data in their published formats."""

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from changed_caches import change_only
from class_datasets import check_ids_by_name
from PIL import Image

from metaexp.core.errors import DataError
from metaexp.core.shapes import SPLITS, Capacity, TaskShape
from metaexp.data import cifar100
from metaexp.data.cifar100 import FC100, CifarFS
from metaexp.data.cub import CUB
from metaexp.data.files.class_lists import class_lists


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


# CIFAR-100


def write_cifar(place: Path, n_train: int = 4, n_test: int = 2) -> Path:
    """An archive as the published one, with fewer images; a class's number is the red of its images."""
    fine = sorted(c for s in SPLITS for c in class_lists("cifar_fs")[s])
    coarse = sorted({c.split("/")[0] for c in fine})
    order = np.random.default_rng(1).permutation(100)  # published numbers do not follow superclasses
    parts: dict[str, dict[str, object]] = {
        "meta": {"fine_label_names": [fine[i].split("/")[1] for i in order], "coarse_label_names": coarse}
    }
    for part, n in (("train", n_train), ("test", n_test)):
        labels = np.random.default_rng(2).permutation(np.repeat(np.arange(100), n))
        x = np.zeros((len(labels), 3, 32, 32), np.uint8)
        x[:, 0] = labels[:, None, None]
        above = [coarse.index(fine[order[label]].split("/")[0]) for label in labels]
        parts[part] = {"data": x.reshape(len(x), -1), "fine_labels": labels.tolist(), "coarse_labels": above}
    place.mkdir(parents=True, exist_ok=True)
    with tarfile.open(place / "cifar-100-python.tar.gz", "w:gz", compresslevel=1) as archive:
        for name, content in parts.items():
            written = pickle.dumps(content, 2)
            info = tarfile.TarInfo(f"cifar-100-python/{name}")
            info.size = len(written)
            archive.addfile(info, io.BytesIO(written))
    return place


@pytest.mark.parametrize(("kind", "sizes"), [(CifarFS, (64, 16, 20)), (FC100, (60, 20, 20))])
def test_cifar_splits_are_made_from_the_published_archive(data, monkeypatch, kind, sizes):
    monkeypatch.setattr(cifar100, "IMAGES", 6)
    write_cifar(data / "cifar100")
    loaded = kind(None).load(data, print)
    assert loaded.capacity() == kind(None).capacity() == {s: Capacity(n, 6) for s, n in zip(SPLITS, sizes, strict=True)}
    check_ids_by_name(kind(None), data, loaded)
    episodes = loaded.tasks(TaskShape(10, 3, 3), 0).episodes("train", torch.arange(5))
    x, y = torch.cat([episodes.support.x, episodes.query.x], 1), torch.cat([episodes.support.y, episodes.query.y], 1)
    for t in range(5):
        assert len(set(zip(x[t, :, 0, 0, 0].tolist(), y[t].tolist(), strict=True))) == 10
    test = {name.split("/")[0] for name in loaded.class_names["test"]}
    shared = test & {name.split("/")[0] for name in loaded.class_names["train"]}
    assert (kind is FC100) == (not shared)


def test_both_splits_of_cifar_share_one_cache_and_tell_their_digests_apart(data, monkeypatch):
    monkeypatch.setattr(cifar100, "IMAGES", 6)
    write_cifar(data)
    first = CifarFS(None).load(data, print)
    (data / "cifar-100-python.tar.gz").unlink()
    second = FC100(None).load(data, print)
    assert first.origin.digest == second.origin.digest
    assert first.digest != second.digest


def test_a_changed_cache_of_cifar_is_known_by_its_own_images(data, monkeypatch, tmp_path):
    """Nobody needs to have prepared it before: the digest of CIFAR-100 is that of its images."""
    monkeypatch.setattr(cifar100, "IMAGES", 6)
    write_cifar(data)
    first = CifarFS(None).load(data, print)
    assert not (tmp_path / "home" / "metaexp" / "receipts").exists()
    change_only(data / "cache")
    lines: list[str] = []
    again = CifarFS(None).load(data, lines.append)
    assert any("is damaged; building it again" in line for line in lines)
    assert torch.equal(again.examples(torch.arange(9)), first.examples(torch.arange(9)))
    lines.clear()
    FC100(None).load(data, lines.append)
    assert lines == []


def test_a_changed_cache_of_cub_is_built_again(data):
    write_cub(data)
    first = CUB(8, False, None).load(data, print)
    change_only(data / "cache")
    again = CUB(8, False, None).load(data, print)
    assert torch.equal(again.examples(torch.arange(9)), first.examples(torch.arange(9)))
    assert again.digest == first.digest


def test_a_cifar_archive_that_is_not_whole_is_refused(data):
    write_cifar(data)
    with pytest.raises(DataError, match=r"not the whole CIFAR-100: class .* has 6 images and should have 600"):
        CifarFS(None).load(data, print)


def test_without_cifar_or_network_it_says_what_to_put_where(data, monkeypatch):
    unreachable = cifar100._REMOTE._replace(url="http://127.0.0.1:1/cifar-100-python.tar.gz")
    monkeypatch.setattr(cifar100, "_REMOTE", unreachable)
    with pytest.raises(DataError, match=r"CIFAR-100 is not in .*could not be fetched.*Put cifar-100-python.tar.gz of"):
        CifarFS(None).load(data, print)


# CUB


def write_cub(place: Path) -> Path:
    """A folder as the published one: the bird is the bright box in a dark photograph."""
    root = place / "CUB_200_2011"
    names, boxes = [], []
    for s in SPLITS:
        for name in class_lists("cub")[s]:
            photo = solid(0, 0, 0, size=(20, 30))
            photo[5:15, 10:25] = 255
            (root / "images" / name).mkdir(parents=True)
            (root / "images" / name / f"{name}_0001.jpg").write_bytes(encoded(photo, "PNG"))
            names.append(f"{len(names) + 1} {name}/{name}_0001.jpg")
            boxes.append(f"{len(boxes) + 1} 10.0 5.0 15.0 10.0")
    (root / "images.txt").write_text("\n".join(names))
    (root / "bounding_boxes.txt").write_text("\n".join(boxes))
    return root


def test_cub_is_read_whole_or_cropped_to_the_bird(data):
    write_cub(data)
    whole = CUB(8, False, None).load(data, print)
    assert [whole.capacity()[s].n_classes for s in SPLITS] == [100, 50, 50]
    assert whole.examples(torch.arange(3)).mean() == pytest.approx(0.25, abs=0.05)
    cropped = CUB(8, True, None).load(data, print)
    assert cropped.examples(torch.arange(3)).mean() == 1.0
    assert cropped.digest != whole.digest
    assert cropped.origin.digest == whole.origin.digest


def test_cub_is_read_from_the_published_archive(data, tmp_path):
    root = write_cub(tmp_path)
    (data / "cub").mkdir()
    with tarfile.open(data / "cub" / "CUB_200_2011.tgz", "w:gz", compresslevel=1) as archive:
        archive.add(root, "CUB_200_2011")
    assert CUB(8, True, None).load(data, print).examples(torch.arange(3)).mean() == 1.0


def test_cub_without_boxes_or_classes_is_refused(data):
    root = write_cub(data)
    (root / "bounding_boxes.txt").write_text("1 0 0 9 9")
    with pytest.raises(DataError, match=r"bounding_boxes.txt has no box for image 2"):
        CUB(8, True, None).load(data, print)
    (root / "bounding_boxes.txt").unlink()
    with pytest.raises(DataError, match=r"lacks images.txt or bounding_boxes.txt, which dataset.crop=true needs"):
        CUB(8, True, None).load(data, print)
    (root / "images" / "001.Black_footed_Albatross" / "001.Black_footed_Albatross_0001.jpg").unlink()
    with pytest.raises(DataError, match=r"class 001.Black_footed_Albatross is missing"):
        CUB(8, False, None).load(data, print)


def test_the_photographs_of_cub_are_counted_before_they_are_read(data):
    root = write_cub(data)
    lone = next((root / "images").iterdir())
    loaded = CUB(8, False, None).load(data, print)
    wanted = loaded.capacity()
    check_ids_by_name(CUB(8, False, None), data, loaded)
    assert CUB(8, False, None).capacity_in(data) == wanted
    assert CUB(8, False, None).capacity() is None
    lone.rename(root / "images" / "renamed")
    assert 0 in [capacity.per_class for capacity in CUB(8, False, None).capacity_in(data).values()]


def test_a_large_compressed_archive_of_cub_is_not_read_to_count(data, tmp_path, monkeypatch):
    root = write_cub(tmp_path)
    with tarfile.open(data / "CUB_200_2011.tgz", "w:gz", compresslevel=1) as archive:
        archive.add(root, "CUB_200_2011")
    assert CUB(8, False, None).capacity_in(data)["train"] == Capacity(100, 1)
    monkeypatch.setattr("metaexp.data.files.archives._QUICK", 1000)
    assert CUB(8, False, None).capacity_in(data) is None
