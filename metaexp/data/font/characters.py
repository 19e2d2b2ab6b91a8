"""Which characters are classes: letters, by script."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from fontTools import unicodedata as scripts

from metaexp.data.font.faces import Face


def class_name(code: int) -> str:
    """Return the class of a character, such as ``Greek/U+03B1``."""
    return f"{_script(code)}/U+{code:04X}"


def is_class(code: int) -> bool:
    """Whether a character is a letter of a script, and not made of others, as accented letters and ligatures are."""
    character = chr(code)
    return (
        unicodedata.category(character) in ("Lu", "Ll", "Lo")
        and not unicodedata.decomposition(character)
        and scripts.script(character) not in ("Zyyy", "Zinh", "Zzzz")
    )


def choose_characters(faces: Sequence[Face], min_families: int, most_per_script: int) -> list[int]:
    """Return the letters that enough families have: of each script those that most have.

    Args:
        faces: One face of each family.
        min_families: How many families must have a letter.
        most_per_script: How many letters of a script are taken, of those in most families the first by code point.

    Returns:
        Code points, sorted.
    """
    counts = Counter(code for face in faces for code in face.characters)
    of_script: dict[str, list[int]] = {}
    for code in sorted(code for code, families in counts.items() if families >= min_families and is_class(code)):
        of_script.setdefault(_script(code), []).append(code)
    chosen = [sorted(codes, key=lambda code: (-counts[code], code))[:most_per_script] for codes in of_script.values()]
    return sorted(code for codes in chosen for code in codes)


def _script(code: int) -> str:
    return str(scripts.script_name(scripts.script(chr(code))))
