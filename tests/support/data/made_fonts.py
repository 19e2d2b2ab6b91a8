"""Fonts made for tests: every letter of a family is a random figure of its own."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from pathlib import Path

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib.tables._g_l_y_f import Glyph
from fontTools.ttLib.ttCollection import TTCollection

LATIN = range(0x41, 0x49)
GREEK = [0x393, 0x394, 0x398, 0x39B, 0x39E, 0x3A0, 0x3A3, 0x3A6]
HEBREW = range(0x5D0, 0x5D8)


def figure(seed: str, scale: float = 1.0) -> Glyph:
    """Three triangles that the seed decides, within a square of 700 units."""
    draw, pen = random.Random(seed), TTGlyphPen(None)
    for _ in range(3):
        points = [(round(scale * draw.randint(0, 700)), round(scale * draw.randint(0, 700))) for _ in range(3)]
        pen.moveTo(points[0])
        for point in points[1:]:
            pen.lineTo(point)
        pen.closePath()
    return pen.glyph()


def font(
    family: str,
    codes: Iterable[int],
    style: str = "Regular",
    weight: int = 400,
    seeds: Mapping[int, str] | None = None,
    glyphs: Mapping[int, Glyph] | None = None,
) -> FontBuilder:
    """A font.

    Args:
        family: Its name, which decides the figures.
        codes: Its characters.
        style: Its style, such as ``Bold Italic``.
        weight: Its weight.
        seeds: Code -> what decides its figure in place of family and code.
        glyphs: Code -> its figure.
    """
    builder = FontBuilder(1000, isTTF=True)
    names = {code: f"g{code:04X}" for code in codes}
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap(names)
    made = {names[c]: (glyphs or {}).get(c) or figure((seeds or {}).get(c, f"{family} {c}")) for c in names}
    builder.setupGlyf({".notdef": figure("box"), **made})
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *names.values()], (750, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": style})
    builder.setupOS2(usWeightClass=weight, fsSelection=1 if "Italic" in style else 64)
    builder.setupPost()
    return builder


def save(path: Path, *builders: FontBuilder) -> Path:
    """Write a font, or several as a collection."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if len(builders) == 1:
        builders[0].save(path)
        return path
    collection = TTCollection()
    collection.fonts = [builder.font for builder in builders]
    collection.save(path)
    return path


def families(folder: Path, n: int, codes: Iterable[int] = (*LATIN, *GREEK, *HEBREW)) -> Path:
    """A folder with a font of each of so many families."""
    for i in range(n):
        save(folder / f"family{i}.ttf", font(f"Family {i}", codes))
    return folder
