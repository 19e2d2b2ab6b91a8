"""Where a file or folder is that a key names, and what a message says if it is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

import metaexp as mx
from metaexp.core.errors import MissingDataError
from metaexp.data.files.locate import existing_path


def message(folder: Path, value: str) -> str:
    with pytest.raises(MissingDataError) as raised:
        existing_path(folder, "dataset.file", value, give="Give a file.", kind="file")
    return str(raised.value)


def test_a_path_that_is_in_the_current_folder_is_named_with_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, data = tmp_path / "my project", tmp_path / "data"
    here.mkdir()
    monkeypatch.chdir(here)
    plain = f"dataset.file=mine.npz: there is no file {data}/mine.npz. Give a file."
    assert message(data, "mine.npz") == plain
    (here / "mine.npz").touch()
    assert message(data, "mine.npz") == (
        f"{plain} The current folder has mine.npz, but relative paths begin at paths.data, which is {data}: set "
        f"paths.data=. or give 'dataset.file={here}/mine.npz'."
    )


def test_nothing_is_said_of_the_current_folder_where_it_was_looked_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for value in ("folder", str(tmp_path / "folder")):
        assert "current folder" not in message(Path(), value)


@pytest.mark.parametrize(
    ("value", "near"),
    [
        ("leavs", None),  # a folder is there, and a file is needed
        ("leaves/alpah.npz", "leaves/alpha.npz"),
        ("laeves/alpha.npz", "leaves/alpha.npz"),
        ("~/leaves/alfa.npz", "~/leaves/alpha.npz"),
        ("leaves/alpha.npz/1.png", None),
        ("laeves/alfa.npz", None),  # two names are wrong
        ("something", None),
    ],
)
def test_a_mistyped_name_is_corrected_in_its_place(
    value: str, near: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaves").mkdir()
    (tmp_path / "leaves" / "alpha.npz").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    found = message(tmp_path, value)
    if near is None:
        assert "mean" not in found
    else:
        assert f". Did you mean dataset.file={near.replace('~', str(tmp_path))}? Give a file." in found


def test_a_folder_that_cannot_be_read_suggests_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaves").mkdir()

    def refuse(path: object) -> None:
        raise PermissionError(str(path))

    monkeypatch.setattr("os.scandir", refuse)
    assert "mean" not in message(tmp_path, "leavs")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("arrays", ("file=mine",)),
        ("image_folder", ("folder=mine",)),
        ("regression_table", ("file=mine",)),
        ("time_series", ("file=mine", "targets=[v]")),
        ("fixed_episodes", ("file=mine",)),
        ("fonts", ("folder=mine",)),
        ("fonts", ("font_list=mine",)),
    ],
)
def test_every_dataset_of_ones_own_says_it(
    name: str, given: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "mine").mkdir() if any(line.startswith("folder=") for line in given) else (tmp_path / "mine").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingDataError, match=r"=mine: there is no .*data/mine\. .* The current folder has mine, but"):
        mx.dataset(name, *(f"dataset.{line}" for line in given), "paths.data=data")


def test_a_corrected_name_is_of_the_kind_that_is_needed(tmp_path: Path) -> None:
    (tmp_path / "images.npz").touch()
    for value, kind, has_hint in (("images", "folder", False), ("image.npz", "file", True), ("images", "", True)):
        with pytest.raises(MissingDataError) as caught:
            existing_path(tmp_path, "dataset.file", value, give="Give one.", kind=kind)
        assert ("Did you mean dataset.file=images.npz?" in str(caught.value)) is has_hint


def test_a_path_of_the_other_kind_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("data/images", "here/images", "here/known.csv"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "data" / "table.csv").touch()
    monkeypatch.chdir(tmp_path / "here")
    for value, kind, said in (("images", "file", "folder"), ("table.csv", "folder", "file")):
        with pytest.raises(MissingDataError, match=rf"{value}\. It is a {said}\. Give one\.$"):
            existing_path(tmp_path / "data", "dataset.file", value, give="Give one.", kind=kind)
    with pytest.raises(MissingDataError, match=r"known\.csv\. Give one\.$"):  # the one here is a folder
        existing_path(tmp_path / "data", "dataset.file", "known.csv", give="Give one.", kind="file")


def test_a_name_that_no_system_allows_is_not_there(tmp_path: Path) -> None:
    assert "there is no" in message(tmp_path, 300 * "a")
