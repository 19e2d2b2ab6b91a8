"""A tiny archive in place of the published one, and the packaged lists made from it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_icons import DESIGNERS, EMOJI_SETS, emoji_sets, icon_sets, pack, sha512

from metaexp.data.icons import archive, lists, sets
from metaexp.data.icons.sets import FOLDER


@pytest.fixture
def no_caches() -> Iterator[None]:
    """Lists that are read once are read again, before and after."""
    for cached in (lists.counts, lists.left_out, sets.places):
        cached.cache_clear()
    yield
    for cached in (lists.counts, lists.left_out, sets.places):
        cached.cache_clear()


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_caches: None) -> Path:
    """paths.data with a tiny archive that is taken for the published one; its sets are the packaged ones."""
    data = tmp_path / "data"
    path = pack(data, {**icon_sets(), **emoji_sets()})
    monkeypatch.setattr(archive, "SHA512", sha512(path))
    monkeypatch.setattr(archive, "_BYTES", path.stat().st_size)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "splits"
    (folder / "emoji").mkdir(parents=True)
    (folder / "icons").mkdir()
    (folder / "emoji" / "sets.txt").write_text((FOLDER / "emoji" / "sets.txt").read_text())
    names = {"designer-0": "designer-0 designer-0-v2"}
    (folder / "icons" / "sets.txt").write_text("".join(f"{d} {names.get(d, d)}\n" for d in DESIGNERS))
    (folder / "icons" / "digests.txt").write_text("# none\n")
    for name in ("sets", "lists", "prepare", "package"):
        monkeypatch.setattr(importlib.import_module(f"metaexp.data.icons.{name}"), "FOLDER", folder)
    assert {
        name for line in (FOLDER / "emoji" / "sets.txt").read_text().splitlines()[1:] for name in line.split()[1:]
    } == {*EMOJI_SETS}
    return data


@pytest.fixture
def listed(published: Path) -> Path:
    """``published``, with lists made from it by the tool that makes the packaged ones."""
    pytest.importorskip("resvg_py", reason="resvg-py, which draws icons, is not installed")
    from metaexp.data.icons.package import main

    main(published, lambda _: None)
    for cached in (lists.counts, lists.left_out, sets.places):
        cached.cache_clear()
    return published
