"""Prepared examples held in memory: read once, taken as long as their cache is the same file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import metaexp
from metaexp.core.errors import DataError
from metaexp.data.cache import prepared as cache
from metaexp.data.cache.prepared import HELD, Prepared, cached
from metaexp.data.glyphs import Glyphs
from metaexp.sweep.processes.preload import HeldData, hold_data

GLYPHS = {
    "_target_": "metaexp.data.glyphs.Glyphs",
    "train_classes": 3, "val_classes": 2, "test_classes": 2, "per_class": 2, "seed": 0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty ``paths.data``; nothing is held, and nothing stays held."""
    monkeypatch.setattr(HELD, "_held", {})
    monkeypatch.setattr("metaexp.config.classes.targets._trusted", set())
    return tmp_path


def prepared(value: int) -> Prepared:
    return Prepared(torch.full((2, 3), value, dtype=torch.uint8), {"a": 2}, f"digest {value}")


def load(folder: Path, value: int, key: str = "k") -> Prepared:
    return cached("some", {"key": key}, folder, lambda: prepared(value), lambda _: None)


def cache_file(folder: Path) -> Path:
    (path,) = (folder / "cache").glob("*.safetensors")
    return path


def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The caches that are read from now on."""
    found: list[Path] = []
    read = cache._read

    def counted(path: Path, *wanted: object) -> Prepared | None:
        found.append(path)
        return read(path, *wanted)  # type: ignore[arg-type]

    monkeypatch.setattr(cache, "_read", counted)
    return found


def test_held_examples_are_taken_without_reading_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(folder, 1)
    found = reads(monkeypatch)
    load(folder, 2)
    assert len(found) == 1, "a process that holds nothing reads, as ever"
    assert HELD.fill(lambda progress: load(folder, 2)) == cache_file(folder)
    held = load(folder, 3)
    assert len(found) == 2
    assert held.examples.tolist() == prepared(1).examples.tolist()
    assert load(folder, 3).examples is held.examples


def test_a_cache_that_was_changed_or_replaced_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(folder, 1)
    HELD.fill(lambda progress: load(folder, 2))
    path = cache_file(folder)
    path.unlink()
    assert load(folder, 4).digest == "digest 4"
    found = reads(monkeypatch)
    assert load(folder, 5).digest == "digest 4"
    assert found == [path]
    HELD.fill(lambda progress: load(folder, 2))
    path.write_bytes(b"damaged")
    assert load(folder, 6).digest == "digest 6"


def test_another_key_or_checksum_is_other_data(folder: Path) -> None:
    load(folder, 1, "a")
    HELD.fill(lambda progress: load(folder, 1, "a"))
    assert load(folder, 2, "b").digest == "digest 2"
    path = cache_file_of(folder, "a")
    assert HELD.is_current(path)
    assert HELD.find(path, ("other", None, False)) is None
    wrong = cached("some", {"key": "a"}, folder, lambda: prepared(9), lambda _: None, checksum="f" * 64)
    assert wrong.digest == "digest 9", "not accepted under another checksum"


def cache_file_of(folder: Path, key: str) -> Path:
    path = HELD.fill(lambda progress: load(folder, 0, key))
    assert path is not None
    return path


def test_to_fill_builds_nothing_and_computes_nothing(folder: Path) -> None:
    def build(_: object) -> object:
        return cached("some", {}, folder, lambda: pytest.fail("built"), lambda _: None)

    assert HELD.fill(build) is None
    assert not list((folder / "cache").iterdir())
    assert load(folder, 1).digest == "digest 1", "afterwards it is built as ever"
    with pytest.raises(DataError, match="no such data"):
        HELD.fill(lambda _: (_ for _ in ()).throw(DataError("no such data")))
    assert load(folder, 2, "other").digest == "digest 2"


def test_a_dataset_of_a_configuration_is_held_and_looked_up_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: HeldData = {}
    hold_data(GLYPHS, folder, held)
    assert not held, "there is no cache yet"
    first = Glyphs(3, 2, 2, 2, 0).load(folder, lambda _: None)
    hold_data(GLYPHS, folder, held)
    assert list(held.values()) == [cache_file(folder)]
    found = reads(monkeypatch)
    hold_data(GLYPHS, folder, held)
    assert Glyphs(3, 2, 2, 2, 0).load(folder, lambda _: None).digest == first.digest
    assert found == []
    assert Glyphs(3, 2, 2, 2, 1).load(folder, lambda _: None).digest != first.digest


@pytest.mark.parametrize("target", ["own.Data", "metaexp.data.sinusoid.Sinusoid", "metaexp.data.glyphs.Nothing"])
def test_own_datasets_and_those_without_a_cache_are_left_to_the_jobs(
    folder: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HELD, "fill", lambda _: pytest.fail("loaded"))
    held: HeldData = {}
    hold_data({"_target_": target}, folder, held)
    assert not held


def test_every_shipped_dataset_that_reads_the_cache_says_so() -> None:
    """And no other, for a warm parent would build that one itself."""
    data = Path(metaexp.__file__).parent / "data"
    found = []
    for path in (*data.glob("*.py"), data / "stand_in" / "published_images.py"):
        tree = ast.parse(path.read_text())
        for node in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
            text = ast.unparse(node)
            reads = "cached(" in text or "load_prepared(" in text
            if bases & {"Dataset", "PublishedImages"}:
                assert reads == ("reads_cache = True" in text or "PublishedImages" in bases), path
                found.append(node.name)
    assert {"Omniglot", "PublishedImages", "CUB", "Glyphs", "ImageFolder"} <= set(found)
