"""What was computed of a large file that has not changed is not computed again, also if it is read into memory."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_image_folder import SPLIT_AND_PIXELS

from metaexp.data import arrays
from metaexp.data.arrays import Arrays
from metaexp.data.cache import prepared
from metaexp.data.cache.prepared import Prepared, cached
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.duplicates import warn_of_duplicates
from metaexp.data.files import labelled_arrays
from metaexp.data.mapped import large_arrays, receipts
from metaexp.data.mapped.receipts import version_if_large

Y = np.repeat(np.arange(8), 5)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for data, where each file is large and was changed long ago."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(receipts, "LARGE", 1)
    monkeypatch.setattr(receipts, "_SETTLED", -1.0)
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def count(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[str]:
    """The calls of a function, one text each."""
    function, calls = getattr(module, name), []

    def counted(*given: Any) -> Any:
        calls.append(name)
        return function(*given)

    monkeypatch.setattr(module, name, counted)
    return calls


def change_in_place(path: Path, content: bytes) -> None:
    """Write other bytes of the same length, and set the time of the change back."""
    before = path.stat()
    assert len(content) == before.st_size
    time.sleep(0.02)  # longer than the clock of a file system stands still
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_small_file_and_one_that_was_just_changed_have_no_version(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = data / "file"
    path.write_bytes(b"12345")
    found = version_if_large(path, "read")
    assert found is not None
    assert version_if_large(path, "read") == found != version_if_large(path, "otherwise")
    change_in_place(path, b"54321")
    assert version_if_large(path, "read") not in (None, found)
    monkeypatch.setattr(receipts, "LARGE", 6)
    assert version_if_large(path, "read") is None
    monkeypatch.setattr(receipts, "LARGE", 5)
    assert version_if_large(path, "read") is not None
    monkeypatch.setattr(receipts, "_SETTLED", 60.0)
    assert version_if_large(path, "read") is None


def build() -> Prepared:
    return Prepared(torch.arange(24, dtype=torch.uint8).view(4, 6), {"a": 4}, "digest")


@pytest.mark.parametrize(("least", "times"), [(1, 0), (1 << 20, 1)])
def test_a_large_cache_is_checked_once_and_a_small_one_each_time(
    data: Path, monkeypatch: pytest.MonkeyPatch, least: int, times: int
) -> None:
    monkeypatch.setattr(receipts, "LARGE", least)
    for _ in range(2):
        cached("own", {}, data, build, print)
    calls = count(monkeypatch, prepared, "checksum_of")
    again = cached("own", {}, data, lambda: pytest.fail("built twice"), print)
    assert len(calls) == times
    assert torch.equal(again.examples, build().examples)
    assert (again.version is None) == (times == 1)


def test_a_large_cache_that_was_changed_is_built_again(data: Path) -> None:
    for _ in range(2):
        cached("own", {}, data, build, print)
    (file,) = (data / "cache").iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    change_in_place(file, bytes(content))
    lines: list[str] = []
    assert torch.equal(cached("own", {}, data, build, lines.append).examples, build().examples)
    assert "is damaged; building it again" in lines[0]


def images(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (40, 1, 6, 6), dtype=np.uint8)


def load(folder: Path, lines: list[str] | None = None) -> ClassDataset:
    return Arrays("mine.npz", **SPLIT_AND_PIXELS).load(folder, [].append if lines is None else lines.append)


@pytest.mark.parametrize(("least", "times"), [(1, 1), (1 << 20, 3)])
@pytest.mark.parametrize("layout", [(0, 1, 2, 3), (0, 2, 3, 1)])
def test_large_arrays_are_hashed_once(
    data: Path, monkeypatch: pytest.MonkeyPatch, least: int, times: int, layout: tuple[int, ...]
) -> None:
    np.savez(data / "mine.npz", x=images(0).transpose(layout), y=Y)
    monkeypatch.setattr(receipts, "LARGE", 1 << 20)
    small = load(data)
    monkeypatch.setattr(receipts, "LARGE", least)
    calls = count(monkeypatch, large_arrays, "digest_begin")
    found = [load(data) for _ in range(3)]
    assert len(calls) == times
    assert {one.digest for one in found} == {small.digest}
    assert all(torch.equal(one.given_examples(), small.given_examples()) for one in found)


def test_arrays_that_were_changed_in_place_have_another_digest_and_are_looked_at_again(data: Path) -> None:
    path, other = data / "mine.npz", data / "other.npz"
    np.savez(path, x=images(0), y=Y)
    lines: list[str] = []
    first = load(data, lines)
    assert not any("byte for byte" in line for line in lines)
    same = images(0)
    same[-2:] = same[:2]
    np.savez(other, x=same, y=Y)
    change_in_place(path, other.read_bytes())
    second = load(data, lines)
    assert second.digest != first.digest
    assert sum("byte for byte" in line for line in lines) >= 1


def test_nothing_is_kept_of_arrays_that_are_changed_while_they_are_read(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = data / "mine.npz", data / "other.npz"
    np.savez(path, x=images(0), y=Y)
    np.savez(other, x=images(1), y=Y)
    wanted = Arrays("other.npz", **SPLIT_AND_PIXELS).load(data, print).given_examples()
    read = labelled_arrays.read_labelled

    def changing_read(place: Path) -> Any:
        found = read(place)
        change_in_place(place, other.read_bytes())
        return found

    with monkeypatch.context() as patch:
        patch.setattr(labelled_arrays, "read_labelled", changing_read)
        before = load(data)
    after = load(data)
    assert after.digest != before.digest
    assert torch.equal(after.given_examples(), wanted)


def test_a_change_of_how_a_file_is_read_is_seen(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(data / "mine.npz", x=images(0), y=Y)
    load(data)
    calls = count(monkeypatch, large_arrays, "digest_begin")
    load(data)
    monkeypatch.setattr(arrays, "_READING", "arrays, reading 2")
    load(data)
    assert len(calls) == 1


def test_equal_examples_of_a_large_file_are_told_of_each_time(data: Path) -> None:
    examples = torch.ones(4, 6)
    version = "one file"
    for _ in range(2):
        lines: list[str] = []
        warn_of_duplicates(examples, {"a": 2, "b": 2}, {"train": ["a"], "test": ["b"]}, lines.append, version)
        assert any("in the train split, too, byte for byte" in line for line in lines)
