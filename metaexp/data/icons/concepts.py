"""What an icon shows, from its name. Importing this module does not import torch.

Sets name an icon by its concept and a style: ``home-outline``, ``home-fill``, ``baseline-home``, ``home-24-regular``.
The concept is the name without the style.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

_STYLES: Final = (
    "outline-rounded", "outline-sharp", "outline-regular", "outline-thin", "outline-bold", "duotone-thin",
    "duotone-regular", "duotone-bold", "outline", "outlined", "linear", "line", "solid", "filled", "fill",
    "bold-duotone", "line-duotone", "bold", "light", "thin", "regular", "duotone", "twotone", "two-tone",
    "rounded", "round", "sharp", "broken", "duo", "12", "16", "20", "24", "28", "32", "48", "24px",
)  # fmt: skip
"""Ends of names that are a style in sets that declare none."""
_PREFERRED: Final = (
    "", "outline", "line", "linear", "outlined", "regular", "outline-regular", "24-regular", "baseline", "24", "16",
    "20-regular", "outline-24px", "light",
)  # fmt: skip
"""The style that a designer's drawing is taken in, where there are several."""
_MODIFIERS: Final = frozenset((
    "add", "alt", "bottom", "center", "check", "circle", "circled", "close", "cross", "down", "horizontal",
    "in", "large", "left", "line", "mini", "minus", "new", "o", "off", "on", "open", "out", "plus", "remove",
    "right", "rectangle", "slash", "small", "square", "top", "up", "vertical", "x",
))  # fmt: skip
"""Words that say no more of a concept than how it differs from its neighbours, where it has another word."""


def concept_and_style(name: str, icon_set: Any) -> tuple[str, str]:
    """Return the concept that an icon shows, and its style.

    Args:
        name: The icon's name in its set.
        icon_set: The JSON of the set, which may declare the styles that its names end or begin with.
    """
    for style in _longest_first(icon_set.get("suffixes") or ()):
        if name.endswith(f"-{style}"):
            return name[: -len(style) - 1], style
    for style in _longest_first(icon_set.get("prefixes") or ()):
        if name.startswith(f"{style}-"):
            return name[len(style) + 1 :], style
    styles: list[str] = []
    while (style := next((style for style in _STYLES if name.endswith(f"-{style}")), "")) != "":
        name = name[: -len(style) - 1]
        styles.insert(0, style)
    return name, "-".join(styles)


def style_rank(style: str) -> int:
    """Return the place of a style among the preferred ones; unknown styles come last."""
    return _PREFERRED.index(style) if style in _PREFERRED else len(_PREFERRED)


def words_in_common(concepts: Iterable[str]) -> dict[str, str]:
    """Return for each concept its category: the word of its name that most of the other names have, too.

    ``user-plus`` and ``users`` are of the category ``user``. Words such as ``plus`` or ``circle`` are ignored where a
    name has others.

    Args:
        concepts: All concepts, on which it depends.
    """
    parts = {concept: [_singular(word) for word in concept.split("-")] for concept in concepts}
    counts: dict[str, int] = {}
    for words in parts.values():
        for word in set(words):
            counts[word] = counts.get(word, 0) + 1
    categories = {}
    for concept, words in parts.items():
        telling = [word for word in words if word not in _MODIFIERS and not word.isdigit()] or words
        categories[concept] = min(telling, key=lambda word: (-counts[word], word))
    return categories


def _singular(word: str) -> str:
    return word[:-1] if len(word) > len("bus") and word.endswith("s") and not word.endswith(("ss", "us")) else word


def _longest_first(styles: Iterable[str]) -> list[str]:
    return sorted((style for style in styles if style), key=lambda style: (-len(style), style))
