"""Families, their letters, and the drawings that are worth having."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fontTools.pens.ttGlyphPen import TTGlyphPen
from made_fonts import GREEK, LATIN, figure, font, save

from metaexp.data.font.characters import choose_characters, class_name, is_class
from metaexp.data.font.equal import copies, one_character_each
from metaexp.data.font.faces import Face, family_without_style, usual_faces
from metaexp.data.font.font_files import FontFile, find_fonts
from metaexp.data.font.render import SIDE, draw


def faces(folder: Path, said: list[str] | None = None) -> list[Face]:
    return usual_faces(find_fonts([folder]), (said if said is not None else []).append)


def test_the_upright_regular_font_of_a_family_draws(tmp_path: Path) -> None:
    for style, weight in (("Bold", 700), ("Italic", 400), ("Regular", 400), ("Light", 300)):
        save(tmp_path / f"{style}.ttf", font("Hand", LATIN, style, weight))
    save(tmp_path / "other.ttf", font("Another Hand Black Italic", LATIN, "Regular", 900))
    assert [(face.family, face.file.name) for face in faces(tmp_path)] == [
        ("Another Hand", "other.ttf"), ("Hand", "Regular.ttf"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("Lato Black Italic", "Lato"),
        ("Noto Sans Thai UI", "Noto Sans Thai"),
        ("Open Sans  SemiBold", "Open Sans"),
        ("Black", "Black"),
        ("Bookman", "Bookman"),
    ],
)
def test_words_for_a_style_are_not_part_of_a_family(name: str, family: str) -> None:
    assert family_without_style(name) == family


def test_all_fonts_of_a_collection_are_used(tmp_path: Path) -> None:
    save(tmp_path / "both.ttc", font("First", LATIN), font("Second", GREEK))
    first, second = faces(tmp_path)
    assert (first.family, first.number, second.family, second.number) == ("First", 0, "Second", 1)
    assert set(draw(second, [*LATIN, *GREEK])) == set(GREEK)


def test_what_is_not_a_font_with_outlines_is_ignored_with_a_word(tmp_path: Path) -> None:
    save(tmp_path / "good.ttf", font("Good", LATIN))
    (tmp_path / "bad.ttf").write_bytes(b"no font at all")
    bitmaps = font("Bitmaps", LATIN).font
    del bitmaps["glyf"], bitmaps["loca"]
    bitmaps.save(tmp_path / "bitmaps.ttf")
    said: list[str] = []
    assert [face.family for face in faces(tmp_path, said)] == ["Good"]
    assert len(said) == 1
    assert said[0].startswith("Ignored 2 files without fonts that have outlines, such as bad.ttf (")


def test_letters_without_marks_are_classes() -> None:
    assert [code for code in map(ord, "Aaø\u05d0\u0e01\u4e00") if not is_class(code)] == []
    for no_class in "1.-é\u00aa\ufb01\ufe8e\U0001d400\u0301 \u00b5":  # digits, marks, and what is made of others
        assert not is_class(ord(no_class)), no_class
    assert class_name(0x3B1) == "Greek/U+03B1"


def test_letters_that_too_few_families_have_are_not_classes() -> None:
    file = FontFile("a.ttf", "0" * 64, Path("a.ttf"))
    sets = [{0x41, 0x42, 0x43, 0x3A9}, {0x42, 0x43, 0x3A9, 0x31}, {0x43, 0x31}]
    found = [Face(f"F{i}", file, 0, frozenset(codes)) for i, codes in enumerate(sets)]
    assert choose_characters(found, 2, 10) == [0x42, 0x43, 0x3A9]
    assert choose_characters(found, 2, 1) == [0x43, 0x3A9]  # of each script the letter that most have
    assert choose_characters(found, 4, 10) == []


def test_a_letter_that_a_font_lacks_is_not_drawn_and_one_that_is_blank_neither(tmp_path: Path) -> None:
    blank = TTGlyphPen(None).glyph()
    save(tmp_path / "a.ttf", font("Some", LATIN[:4], glyphs={LATIN[0]: blank, LATIN[1]: figure("large", 4.0)}))
    (face,) = faces(tmp_path)
    found = draw(face, [*LATIN, *GREEK])
    assert set(found) == set(LATIN[1:4])
    for drawn in found.values():
        ink = np.argwhere(drawn < 250)
        assert drawn.shape == (SIDE, SIDE)
        assert np.abs(ink.min(0) + ink.max(0) - (SIDE - 1)).max() <= 3  # in the middle, also what was too large
    assert (found[LATIN[1]] < 255).sum() > (found[LATIN[2]] < 255).sum() / 2


def test_a_character_that_maps_to_the_box_of_missing_ones_is_not_had(tmp_path: Path) -> None:
    builder = font("Boxes", LATIN)
    for table in builder.font["cmap"].tables:
        table.cmap[0x5D0] = ".notdef"
    save(tmp_path / "a.ttf", builder)
    (face,) = faces(tmp_path)
    assert face.characters == set(LATIN)


def test_of_characters_that_a_family_draws_alike_the_first_is_kept() -> None:
    images = {code: np.full((4, 4), value, np.uint8) for code, value in ((0x391, 7), (0x41, 7), (0x42, 9))}
    kept, others = one_character_each(images)
    assert set(kept) == {0x41, 0x42}
    assert others == {0x391}
    boxes = {code: np.zeros((4, 4), np.uint8) for code in range(0x61, 0x61 + 12)}  # one image for twelve characters
    kept, others = one_character_each(images | boxes)
    assert set(kept) == {0x41, 0x42}
    assert others == {0x391, *boxes}


def test_copies_of_another_family_are_found_and_other_drawings_are_not() -> None:
    draw_one = np.random.default_rng(0)
    first, other = (np.where(draw_one.random((8, 8)) < 0.4, 0, 255).astype(np.uint8) for _ in range(2))
    nearly = first.copy()
    nearly[0, 0] ^= 20  # by less than a twentieth of its ink
    another = first.copy()
    another[tuple(np.argwhere(first == 0)[:2].T)] = 255  # without two of its 27 pixels of ink
    assert (first == 0).sum() == 27
    assert copies([first, other, nearly, first, another]) == [2, 3]
    assert copies([other, first]) == []
    assert copies([]) == []
