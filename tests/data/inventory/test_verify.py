"""Whether files of datasets are intact: what is compared with what, and what is said."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from metaexp.core.errors import DataError
from metaexp.data.cache.prepared import Prepared, cached
from metaexp.data.files.download import Remote
from metaexp.data.inventory.caches import cache_files, check_cache
from metaexp.data.inventory.noted import list_file, read_noted
from metaexp.data.inventory.sources import SourceFile, Sources
from metaexp.data.inventory.verify import note, verify

CONTENT = b"a published file"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def prepare(folder: Path) -> Path:
    examples = torch.arange(24, dtype=torch.uint8).view(6, 1, 2, 2)
    cached("things", {}, folder, lambda: Prepared(examples, {"a": 2, "b": 4}, "0" * 64), print)
    (path,) = cache_files(folder / "cache", "things")
    return path


def test_an_intact_prepared_file_is_found_and_its_digest_returned(place: Path) -> None:
    assert check_cache(prepare(place.parent)) == hashlib.sha256(bytes(range(24))).hexdigest()


@pytest.mark.parametrize("at", [0, 3, 20, -1])
def test_one_changed_byte_of_a_prepared_file_is_found(place: Path, at: int) -> None:
    path = prepare(place.parent)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"^{path}.*It is damaged; remove it, and the next load prepares it again"):
        check_cache(path)


def test_a_prepared_file_that_was_cut_is_found(place: Path) -> None:
    path = prepare(place.parent)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=rf"{path} has \d+ bytes, and should have \d+"):
        check_cache(path)


def test_a_published_file_is_compared_with_its_published_digest(place: Path) -> None:
    file = place / "file.zip"
    file.write_bytes(CONTENT)
    remote = Remote("https://here/file.zip", "", 100, sha256=hashlib.sha256(CONTENT).hexdigest())
    sources = Sources("fetched", (SourceFile(file, remote),))
    lines: list[str] = []
    assert verify("things", sources, place, lines.append) == []
    assert lines == [f"  {file}: as published, SHA-256 {remote.sha256[:12]}"]
    file.write_bytes(CONTENT[:-1] + b"!")
    (said,) = verify("things", sources, place, lines.append)
    assert said.startswith(f"{file} is not the published file: its SHA-256 is ")


def test_a_file_packed_in_another_way_is_right_if_its_content_is(place: Path) -> None:
    file = place / "file.zip"
    file.write_bytes(CONTENT)
    remote = Remote("https://here/file.zip", "0" * 32, 100)
    good = Sources("fetched", (SourceFile(file, remote, lambda _: "every pixel is as published"),))
    assert verify("things", good, place, print) == []

    def refuse(_: object) -> str:
        raise DataError(f"{file} holds other drawings.")

    bad = Sources("fetched", (SourceFile(file, remote, refuse),))
    assert verify("things", bad, place, print) == [f"{file} holds other drawings."]


def test_files_without_a_published_digest_are_noted_and_then_compared(place: Path) -> None:
    folder = place.parent / "images"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.png").write_bytes(name.encode())
    sources = Sources("own files", (SourceFile(folder),))
    lines: list[str] = []
    assert verify("things", sources, place, lines.append) == []
    assert "3 files without a published digest: noted now in" in lines[-1]
    assert verify("things", sources, place, lines.append) == []
    assert lines[-1] == f"  3 files are as noted in {place / 'things.sha256'}."
    (folder / "a.png").write_bytes(b"A")
    (folder / "b.png").unlink()
    (folder / "d.png").write_bytes(b"d")
    changed, missing, new = verify("things", sources, place, lines.append)
    assert changed.startswith(f"{folder / 'a.png'} changed since {place / 'things.sha256'} was written.")
    assert missing.startswith(f"{folder / 'b.png'} disappeared since")
    assert new.startswith(f"{folder / 'd.png'} came since")
    assert "metaexp data prepare things notes them again" in changed


def test_noting_again_replaces_the_digests_of_these_files_alone(place: Path) -> None:
    files = [place.parent / name for name in ("one.npz", "two.npz")]
    for file in files:
        file.write_bytes(file.name.encode())
        note("arrays", Sources("own files", (SourceFile(file),)), place)
    files[0].write_bytes(b"new")
    note("arrays", Sources("own files", (SourceFile(files[0]),)), place)
    assert read_noted(list_file(place, "arrays")) == {
        str(files[0]): hashlib.sha256(b"new").hexdigest(),
        str(files[1]): hashlib.sha256(b"two.npz").hexdigest(),
    }


def test_a_list_of_digests_that_is_none_is_named(place: Path) -> None:
    list_file(place, "things").write_text("nonsense\n")
    file = place / "file.npz"
    file.write_bytes(CONTENT)
    with pytest.raises(DataError, match=r"things.sha256 is not a list of SHA-256 and path. Remove it"):
        verify("things", Sources("own files", (SourceFile(file),)), place, print)


def test_without_a_folder_for_notes_it_says_that_nothing_can_be_compared(place: Path) -> None:
    file = place / "file.npz"
    file.write_bytes(CONTENT)
    lines: list[str] = []
    sources = Sources("own files", (SourceFile(file),))
    assert verify("things", sources, None, lines.append) == []
    assert lines == ["  No digests of these files are published, and there is no folder to note them in."]
    assert note("things", sources, None) is None
