import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from metaexp.core.errors import DataError
from metaexp.data.files.archives import first_existing, open_source

FILES = {"a/one.txt": b"1" * 10, "a/b/two.txt": b"22", "three.txt": b""}


def as_folder(place: Path, files: dict[str, bytes]) -> Path:
    root = place / "folder"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def as_zip(place: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(place / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("a")
        for name, content in files.items():
            archive.writestr(name, content)
    return place / "x.zip"


def as_tar(place: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(place / "x.tgz", "w:gz") as archive:
        folder = tarfile.TarInfo("a")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return place / "x.tgz"


@pytest.mark.parametrize("made", [as_folder, as_zip, as_tar])
def test_folders_zips_and_tars_are_read_alike(tmp_path, made):
    with open_source(made(tmp_path, FILES)) as source:
        assert sorted(source.names()) == sorted(FILES)
        assert dict(source.items(FILES, 100)) == FILES
        assert dict(source.items({"three.txt", "absent"}, 100)) == {"three.txt": b""}
        assert source.read("a/b/two.txt", 2) == b"22"
        with pytest.raises(DataError, match="has no file absent"):
            source.read("absent", 100)


@pytest.mark.parametrize("made", [as_folder, as_zip, as_tar])
def test_files_larger_than_expected_are_refused(tmp_path, made):
    with open_source(made(tmp_path, FILES)) as source:
        assert source.read("a/one.txt", 10) == FILES["a/one.txt"]
        with pytest.raises(DataError, match=r"a/one.txt is larger than the 9 bytes expected at most"):
            source.read("a/one.txt", 9)


@pytest.mark.parametrize("made", [as_zip, as_tar])
def test_names_that_point_outside_an_archive_write_nothing(tmp_path, made):
    place = tmp_path / "inside"
    place.mkdir()
    with open_source(made(place, {"../escaped.txt": b"x", "/tmp/absolute.txt": b"y", **FILES})) as source:
        assert dict(source.items(source.names(), 100))["../escaped.txt"] == b"x"
    assert [p.name for p in tmp_path.iterdir()] == ["inside"]
    assert len(list(place.iterdir())) == 1


def test_links_in_a_tar_are_not_followed(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
    with open_source(tmp_path / "x.tar") as source:
        assert source.names() == []
        assert list(source.items({"link.txt"}, 100)) == []


@pytest.mark.parametrize("made", [as_zip, as_tar])
def test_a_damaged_archive_is_refused(tmp_path, made):
    path = made(tmp_path, {"big.bin": os.urandom(5000)})
    whole = path.read_bytes()
    path.write_bytes(whole[:2000])
    with pytest.raises(DataError, match="is damaged"), open_source(path) as source:
        source.read("big.bin", 10_000)


def test_a_changed_byte_in_a_zip_is_noticed(tmp_path):
    path = as_zip(tmp_path, {"big.bin": os.urandom(5000)})
    content = bytearray(path.read_bytes())
    content[2500] ^= 1
    path.write_bytes(bytes(content))
    with open_source(path) as source, pytest.raises(DataError, match=r"is damaged \(.*big.bin"):
        source.read("big.bin", 10_000)


def test_the_first_place_and_name_that_exist_are_taken(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "second").touch()
    assert first_existing([tmp_path / "a", tmp_path / "b"], ["first", "second"]) == tmp_path / "b" / "second"
    assert first_existing([tmp_path], ["first"]) is None
