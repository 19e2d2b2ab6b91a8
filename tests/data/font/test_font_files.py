"""Font files, and the list that pins them."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.core.errors import DataError
from metaexp.data.font import font_files
from metaexp.data.font.font_files import find_fonts, fonts_digest, fonts_of_list, machine_folders, write_list


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two font files, a copy of one, and what is not a font."""
    for name, content in {"a.ttf": b"A", "deep/b.OTF": b"B", "deep/copy.ttf": b"A", "readme.txt": b"C"}.items():
        (tmp_path / "fonts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fonts" / name).write_bytes(content)
    return tmp_path / "fonts"


def test_each_content_is_found_once(folder: Path) -> None:
    assert [font.name for font in find_fonts([folder])] == ["a.ttf", "b.OTF"]
    assert find_fonts([]) == []


def test_a_list_finds_its_fonts_again_wherever_they_are(folder: Path, tmp_path: Path) -> None:
    fonts = find_fonts([folder])
    write_list(tmp_path / "list.txt", fonts)
    (folder / "a.ttf").rename(folder / "deep" / "a.ttf")
    (folder / "new.ttf").write_bytes(b"D")
    again = fonts_of_list(tmp_path / "list.txt", [folder])
    assert [(font.name, font.sha256) for font in again] == [(font.name, font.sha256) for font in fonts]
    assert fonts_digest(again) == fonts_digest(fonts)
    assert fonts_digest(find_fonts([folder])) != fonts_digest(fonts)  # a negative control: the new one counts


def test_a_changed_and_a_missing_font_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    write_list(tmp_path / "list.txt", find_fonts([folder]))
    (folder / "deep" / "b.OTF").write_bytes(b"another version")
    for path in (folder / "a.ttf", folder / "deep" / "copy.ttf"):
        path.unlink()
    with pytest.raises(DataError) as caught:
        fonts_of_list(tmp_path / "list.txt", [folder])
    said = str(caught.value)
    assert "lists 2 fonts, of which 0 are in" in said
    assert "a.ttf is missing" in said
    assert "b.OTF has another content (" in said
    assert "leave dataset.font_list out" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# nothing\n\n", "lists no fonts"),
        ("a.ttf\n", "line 1: a line is a SHA-256, two spaces and the name of a font file"),
        (f"# one\n{'0' * 63}  a.ttf\n", "line 2: a line is a SHA-256"),
    ],
)
def test_what_is_not_a_list_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        fonts_of_list(tmp_path / "list.txt", [])
    with pytest.raises(DataError, match="cannot be read"):
        fonts_of_list(tmp_path, [])


def test_a_file_that_is_far_too_large_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(font_files, "_MOST_BYTES", 0)
    with pytest.raises(DataError, match="a.ttf is larger than 0 bytes, which no font is"):
        find_fonts([folder])


@pytest.mark.parametrize(
    ("platform", "place"),
    [("linux", ".local/share/fonts"), ("darwin", "Library/Fonts"), ("win32", "windows/Fonts")],
)
def test_the_folders_of_each_system_are_known(
    platform: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(font_files.sys, "platform", platform)
    monkeypatch.setenv("WINDIR", str(tmp_path / "windows"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert tmp_path / place not in machine_folders()
    (tmp_path / place).mkdir(parents=True)
    assert tmp_path / place in machine_folders()
