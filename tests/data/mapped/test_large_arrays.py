"""Arrays that stay on disk are those that are read at once."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from metaexp.core.errors import DataError
from metaexp.core.shapes import TaskShape
from metaexp.data.arrays import Arrays
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.mapped import large_arrays
from metaexp.data.mapped.placement import use_placement

RANDOM = np.random.default_rng(0)
Y = RANDOM.permutation(np.repeat(np.arange(8), 5))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(large_arrays, "_PIECE", 500)
    return tmp_path


def load(data: Path, placement: str, lines: list[str] | None = None) -> ClassDataset:
    arrays = Arrays("mine.npz", [0.5, 0.25, 0.25], 0, False, None, "none", "all")
    with use_placement(placement):
        loaded = arrays.load(data, (lambda _: None) if lines is None else lines.append)
    assert isinstance(loaded, ClassDataset)
    return loaded


@pytest.mark.parametrize(
    "x",
    [
        RANDOM.integers(0, 256, (40, 6, 6), dtype=np.uint8),
        RANDOM.integers(0, 256, (40, 6, 6, 3), dtype=np.uint8),
        RANDOM.normal(size=(40, 7)).astype(np.float16),
        RANDOM.normal(size=(40, 3, 7)),
        RANDOM.normal(size=(40, 6, 6, 3)).astype(np.float32),
    ],
    ids=lambda x: f"{x.dtype}{x.shape}",
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_episodes_and_hashes_are_the_same_to_the_bit(data, x, save):
    save(data / "mine.npz", x=x, y=Y)
    on_disk, in_memory = load(data, "disk"), load(data, "memory")
    assert (on_disk.in_memory, in_memory.in_memory) == (False, True)
    assert (on_disk.digest, on_disk.origin) == (in_memory.digest, in_memory.origin)
    for split in ("train", "val", "test"):
        a, b = (d.tasks(TaskShape(2, 1, 2), 0).episodes(split, torch.arange(4)) for d in (on_disk, in_memory))
        assert torch.equal(a.support.x, b.support.x)
        assert torch.equal(a.query.x, b.query.x)
    x = x.copy()
    x[0] = x[1]
    save(data / "mine.npz", x=x, y=Y)
    assert load(data, "disk").digest != in_memory.digest


def test_splits_of_their_own_are_one_set_of_examples(data):
    x = {f"x_{s}": RANDOM.normal(size=(10, 4)) for s in ("train", "val", "test")}
    y = {f"y_{s}": np.repeat([2 * i, 2 * i + 1], 5) for i, s in enumerate(("train", "val", "test"))}
    np.savez(data / "mine.npz", **x, **y)
    on_disk, in_memory = load(data, "disk"), load(data, "memory")
    assert on_disk.digest == in_memory.digest
    episodes = [d.tasks(TaskShape(2, 1, 2), 0).episodes("test", torch.arange(4)).query.x for d in (on_disk, in_memory)]
    assert torch.equal(*episodes)


def test_the_second_load_reads_no_array_and_says_the_same_of_scales(data):
    x = np.where(Y[:, None] < 4, 1.0, 300.0) * RANDOM.normal(size=(40, 4))
    np.savez(data / "mine.npz", x=x, y=Y, train_classes=[0, 1, 2, 3], val_classes=[4, 5], test_classes=[6, 7])
    first: list[str] = []
    load(data, "disk", first)
    second: list[str] = []
    load(data, "disk", second)
    assert any("piece by piece" in line for line in first)
    assert not any("piece by piece" in line for line in second)
    assert sum("different scales" in line for line in second) == 2


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.asfortranarray(RANDOM.normal(size=(40, 4))), r"x is stored column by column, and is too large"),
        (
            np.where(np.arange(160).reshape(40, 4) == 133, np.nan, 1.0),
            "not finite as float32, such as nan in example 33",
        ),
    ],
)
def test_what_cannot_be_read_piece_by_piece_is_refused(data, x, message):
    np.savez(data / "mine.npz", x=x, y=Y)
    with pytest.raises(DataError, match=message):
        load(data, "disk")


def test_an_array_that_ends_early_is_refused(data):
    np.savez(data / "mine.npz", x=RANDOM.normal(size=(40, 4)), y=Y)
    with zipfile.ZipFile(data / "mine.npz") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(data / "mine.npz", "w") as archive:
        for name, item in content.items():
            archive.writestr(name, item[:-100] if name == "x.npy" else item)
    with pytest.raises(DataError, match=r"x is damaged: it ends within row 3\d"):
        load(data, "disk")
