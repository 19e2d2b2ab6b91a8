"""Opens fonts: families, and the characters that the character map of each has."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from fontTools.ttLib import TTFont
from fontTools.ttLib.ttCollection import TTCollection

from metaexp.core.counted import counted
from metaexp.data.base import Progress
from metaexp.data.font.font_files import FontFile

_REGULAR: Final = 400
_NORMAL_WIDTH: Final = 5
_OUTLINES: Final = ("glyf", "CFF ", "CFF2")
_STYLES: Final = re.compile(
    r"[ -]+(thin|hairline|ultra ?light|extra ?light|light|semi ?light|demi ?light|book|regular|roman|medium|demi|"
    r"semi ?bold|demi ?bold|bold|extra ?bold|ultra ?bold|black|heavy|ultra|italic|oblique|slanted|condensed|"
    r"semi ?condensed|extra ?condensed|narrow|expanded|wide|ui)$",
    re.IGNORECASE,
)
"""Words at the end of a family's name that name a style: the same design, heavier or narrower."""


class Face(NamedTuple):
    """One font of a file: of its family the most usual one.

    Attributes:
        family: The name of the family, which is the drawer.
        file: The file.
        number: Which font of the file; 0 unless it is a collection.
        characters: Code points that its character map has, except for the box of missing characters.
    """

    family: str
    file: FontFile
    number: int
    characters: frozenset[int]


def usual_faces(fonts: Sequence[FontFile], progress: Progress) -> list[Face]:
    """Return for each family the face that is nearest to upright, regular weight and normal width.

    Args:
        fonts: The files.
        progress: Receives a line about files that cannot be used.

    Returns:
        The faces, sorted by family.
    """
    best: dict[str, tuple[tuple[Any, ...], Face]] = {}
    failed: list[str] = []
    logging.getLogger("fontTools").setLevel(logging.ERROR)  # it warns of what it repairs
    for font in fonts:
        try:
            for rank, face in _faces(font):
                family = face.family.lower()
                if family not in best or rank < best[family][0]:
                    best[family] = rank, face
        except Exception as error:  # a damaged font raises anything
            failed.append(f"{font.name} ({error or type(error).__name__})")
    if failed:
        progress(f"Ignored {counted(len(failed), 'file')} without fonts that have outlines, such as {failed[0]}.")
    return [best[family][1] for family in sorted(best)]


def _faces(file: FontFile) -> Iterator[tuple[tuple[Any, ...], Face]]:
    """The faces of a file, each with its distance from the usual."""
    with file.path.open("rb") as content:
        is_collection = content.read(4) == b"ttcf"
    if not is_collection:
        with TTFont(file.path, lazy=True) as font:
            yield _face(font, file, 0)
        return
    with TTCollection(file.path, lazy=True) as collection:
        for index, font in enumerate(collection.fonts):
            yield _face(font, file, index)


def _face(font: Any, file: FontFile, index: int) -> tuple[tuple[Any, ...], Face]:
    if not any(table in font for table in _OUTLINES):
        raise ValueError("no outlines")
    names = font["name"]
    family = names.getBestFamilyName() or file.path.stem
    characters = frozenset(code for code, glyph in (font.getBestCmap() or {}).items() if glyph != ".notdef")
    style = font.get("OS/2")
    weight, width = (style.usWeightClass, style.usWidthClass) if style else (_REGULAR, _NORMAL_WIDTH)
    is_italic = bool(font["head"].macStyle & 2) or bool(style and style.fsSelection & 1)
    plain = family_without_style(family)
    rank = (is_italic, abs(width - _NORMAL_WIDTH), abs(weight - _REGULAR), len(family), file.name, file.sha256, index)
    return rank, Face(plain, file, index, characters)


def family_without_style(name: str) -> str:
    """Return the name of a family without words for weight, width and slant at its end.

    Args:
        name: The name that the font gives, such as ``Lato Black Italic``.
    """
    name = " ".join(name.split())
    while (shorter := _STYLES.sub("", name)) != name:
        name = shorter
    return name
