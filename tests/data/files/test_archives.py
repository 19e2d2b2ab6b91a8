import io
import os
import tarfile
import warnings
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
@pytest.mark.parametrize(
    "name", ["../escaped.txt", "a/../../escaped.txt", "/tmp/absolute.txt", "C:/x.txt", "..\\x.txt"]
)
def test_an_archive_with_a_name_that_leads_out_is_refused(tmp_path, made, name):
    place = tmp_path / "inside"
    place.mkdir()
    with pytest.raises(DataError, match="which leads out of the archive. Pack the folder again"):
        open_source(made(place, {name: b"x", **FILES}))
    assert [p.name for p in tmp_path.iterdir()] == ["inside"]
    assert len(list(place.iterdir())) == 1


@pytest.mark.parametrize("made", [as_zip, as_tar])
def test_names_that_begin_with_a_dot_and_a_slash_are_those_without(tmp_path, made):
    with open_source(made(tmp_path, {"./a/one.txt": b"1", ".//a/./two.txt": b"2"})) as source:
        assert sorted(source.names()) == ["a/one.txt", "a/two.txt"]
        assert source.read("a/two.txt", 9) == b"2"


def twice_in_a_zip(place: Path) -> Path:
    with zipfile.ZipFile(place / "x.zip", "w") as archive, warnings.catch_warnings(action="ignore"):
        archive.writestr("a.txt", "1")
        archive.writestr("./a.txt", "2")
        archive.writestr("b.txt", "3")
    return place / "x.zip"


def twice_in_a_tar(place: Path) -> Path:
    with tarfile.open(place / "x.tar", "w") as archive:
        for name in ("a.txt", "b.txt", "a.txt"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return place / "x.tar"


@pytest.mark.parametrize("made", [twice_in_a_zip, twice_in_a_tar])
def test_a_file_that_is_there_twice_is_refused_when_it_is_read(tmp_path, made):
    with open_source(made(tmp_path)) as source:
        assert sorted(source.names()) == ["a.txt", "b.txt"]
        assert len(list(source.items({"b.txt"}, 10))) == 1
        with pytest.raises(DataError, match="has the file a.txt twice. Pack the folder again"):
            list(source.items({"a.txt"}, 10))


def test_links_in_a_tar_are_not_followed(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
    with open_source(tmp_path / "x.tar") as source:
        assert source.names() == []
        assert source.ignored == {"link in the archive": 1}
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
