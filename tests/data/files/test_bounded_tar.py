"""Small archives that would unpack to much more than any archive of images."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from metaexp.core.errors import DataError
from metaexp.data.files import bounded_tar
from metaexp.data.files.archives import open_source

OPENERS = {"gz": gzip.open, "bz2": bz2.open, "xz": partial(lzma.open, preset=0)}
LIMIT = 1 << 20
BIG = 1 << 25


@pytest.fixture(autouse=True)
def low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_tar, "_LEAST_LIMIT", LIMIT)


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf()


def archive(path: Path, opener: Callable[..., object], *members: tuple[str, int, bytes]) -> Path:
    """A tar whose members are full of zeros."""
    with opener(path, "wb") as file:  # type: ignore[attr-defined]
        for name, size, kind in members:
            file.write(header(name, size, kind))
            file.write(bytes(size + -size % 512))
        file.write(bytes(1024))
    return path


@pytest.mark.parametrize("kind", OPENERS)
def test_a_compressed_tar_that_unpacks_to_far_more_is_refused_while_it_is_listed(kind: str, tmp_path: Path) -> None:
    path = archive(tmp_path / f"x.tar.{kind}", OPENERS[kind], ("a/0.png", BIG, tarfile.REGTYPE))
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match=r"unpacks to more than .* GB, over 100 times its size"):
        open_source(path)


@pytest.mark.parametrize("kind", OPENERS)
def test_one_below_the_limit_is_read(kind: str, tmp_path: Path) -> None:
    path = archive(tmp_path / f"x.tar.{kind}", OPENERS[kind], ("a/0.png", LIMIT // 2, tarfile.REGTYPE))
    with open_source(path) as source:
        assert source.names() == ["a/0.png"]
        assert source.read("a/0.png", LIMIT) == bytes(LIMIT // 2)


@pytest.mark.parametrize("kind", [*OPENERS, "none"])
@pytest.mark.parametrize("type_", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE])
def test_a_header_that_would_fill_the_memory_is_refused(kind: str, type_: bytes, tmp_path: Path) -> None:
    opener = OPENERS.get(kind, open)
    first = ("a/0.png", 3, tarfile.REGTYPE)
    path = archive(tmp_path / "x.tar", opener, first, ("long", BIG, type_), ("a/1.png", 3, tarfile.REGTYPE))
    with pytest.raises(DataError, match="has a header of 33,554,432 bytes|unpacks to more than"):
        open_source(path)


def test_a_large_file_in_a_tar_that_is_not_compressed_is_read(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.tar", open, ("a/0.png", BIG, tarfile.REGTYPE))
    with open_source(path) as source:
        assert len(source.read("a/0.png", BIG)) == BIG


def test_many_files_that_are_small_are_listed(tmp_path: Path) -> None:
    members = [(f"c{i % 5}/{i}.png", 0, tarfile.REGTYPE) for i in range(1_000)]
    with open_source(archive(tmp_path / "x.tar.gz", gzip.open, *members)) as source:
        assert len(source.names()) == len(members)
