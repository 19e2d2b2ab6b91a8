"""A mistyped path is answered by the one that differs in one name."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.core.disk.nearest import format_nearest_path, nearest_path, not_a_run


@pytest.mark.parametrize(
    ("path", "kind", "near"),
    [
        ("outputs/sed0", "", "outputs/seed0"),
        ("output/seed0", "", "outputs/seed0"),
        ("outputs/seed0/recrd.json", "file", "outputs/seed0/record.json"),
        ("outputs/seed0/recrd.json", "folder", None),
        ("output/sed0", "", None),  # two names differ
        ("elsewhere", "", None),
    ],
)
def test_one_name_may_differ(
    path: str, kind: str, near: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "outputs" / "seed0"
    folder.mkdir(parents=True)
    (folder / "record.json").touch()
    assert nearest_path(Path(path), kind=kind) == (None if near is None else Path(near))
    assert nearest_path(Path(path), within=tmp_path, kind=kind) == nearest_path(Path(path), kind=kind)
    assert nearest_path(tmp_path / path, kind=kind) == (None if near is None else tmp_path / near)
    assert format_nearest_path(Path(path), key="model.weights=", kind=kind) == (
        "" if near is None else f" Did you mean model.weights={near}?"
    )
    assert nearest_path(folder) is None


def test_a_path_that_is_not_a_run_folder_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert "it has no record.json." in str(not_a_run(tmp_path / "empty", "record.json"))
    assert "it is a file." in str(not_a_run(tmp_path / "file", "record.json"))
    assert f"there is no such folder. Did you mean {tmp_path / 'empty'}?" in (
        str(not_a_run(tmp_path / "emty", "record.json"))
    )
    assert "there is no such file." in str(not_a_run(tmp_path / "run" / "record.json", "record.json"))


def test_a_path_of_the_other_kind_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("conf").mkdir()
    Path("conf/mine.yaml").touch()
    Path("alone.yaml").touch()
    assert format_nearest_path(Path("conf/mine.yaml"), kind="folder") == " It is a file. Did you mean conf?"
    assert format_nearest_path(Path("alone.yaml"), kind="folder") == " It is a file."
    assert format_nearest_path(Path("conf"), kind="file") == " It is a folder."
    assert format_nearest_path(Path("conf/mine.yaml")) == "", "both kinds are allowed: nothing is wrong with it"
