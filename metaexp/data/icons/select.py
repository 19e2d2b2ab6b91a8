"""The drawings of each concept: which icons of which sets. Importing this module does not import torch.

A family gives one drawing of an icon's concept: that of the preferred set in the preferred style. Of an emoji each of
its sets gives one, without a skin tone; toned ones are left out, so they are neither classes of their own nor easy
neighbours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from metaexp.data.icons.concepts import concept_and_style, style_rank
from metaexp.data.icons.emoji_names import EmojiNames, has_tone, own_codes
from metaexp.data.icons.sets import PERMISSIVE, Kind, licence, places

_SIDE: Final = 16
"""Width and height of icons whose set names none, by the definition of the format."""


class Drawing(NamedTuple):
    """An icon of a set.

    Attributes:
        concept: The class.
        family: The designer family.
        source: ``set:name``.
        body: The inside of the SVG.
        box: Left, top, width and height of what is seen.
        permissive: Whether the licence of the set is permissive.
        rank: Preferred drawings first: of one family, and of drawings that are equal.
    """

    concept: str
    family: str
    source: str
    body: str
    box: tuple[float, float, float, float]
    permissive: bool
    rank: tuple[int, ...]


def drawings(
    kind: Kind, sets: Mapping[str, Mapping[str, Any]], permissive_only: bool, left_out: Collection[str] = ()
) -> dict[str, list[Drawing]]:
    """Return the drawings of each concept, by rank, concepts sorted.

    Args:
        kind: ``icons`` or ``emoji``.
        sets: The JSON of the sets, by their names.
        permissive_only: Whether only sets with a permissive licence are used.
        left_out: The sources of drawings to leave out.
    """
    all_of_them = _icons(sets) if kind == "icons" else _emoji(sets)
    found: dict[str, dict[object, Drawing]] = {}
    for drawing in sorted((d for d in all_of_them if d.permissive or not permissive_only), key=lambda d: d.rank):
        one_of = drawing.family if kind == "icons" else drawing.source.partition(":")[0]
        found.setdefault(drawing.concept, {}).setdefault(one_of, drawing)
    kept = {c: [d for d in found[c].values() if d.source not in left_out] for c in sorted(found)}
    return {concept: of_it for concept, of_it in kept.items() if of_it}


def n_families(of_concept: Iterable[Drawing]) -> int:
    """Return how many designer families drew a concept."""
    return len({drawing.family for drawing in of_concept})


def _icons(sets: Mapping[str, Mapping[str, Any]]) -> Iterator[Drawing]:
    for number, (name, icon_set) in enumerate(_in_order("icons", sets)):
        for position, (icon, value) in enumerate(_shown(icon_set)):
            concept, style = concept_and_style(icon, icon_set)
            rank = (number, style_rank(style), len(icon), position)
            yield _drawing("icons", concept, name, icon, value, icon_set, rank)


def _emoji(sets: Mapping[str, Mapping[str, Any]]) -> Iterator[Drawing]:
    names = EmojiNames(dict(_in_order("emoji", sets)))
    for number, (name, icon_set) in enumerate(_in_order("emoji", sets)):
        own = _own_codes_of(name, icon_set, sets)
        for position, (icon, value) in enumerate(_shown(icon_set)):
            code = names.code(icon, own)
            if code is not None and not has_tone(code) and names.concept(code):
                rank = (number, len(icon), position)
                yield _drawing("emoji", names.concept(code), name, icon, value, icon_set, rank)


def _own_codes_of(name: str, icon_set: Mapping[str, Any], sets: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The codes of a set, or where it has none those of the first set of its family, which has the same names."""
    family = places("emoji")[name].family
    relatives = (s for other, s in _in_order("emoji", sets) if places("emoji")[other].family == family)
    return own_codes(icon_set) or next((codes for s in relatives if (codes := own_codes(s))), {})


def _in_order(kind: Kind, sets: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Sets with a permissive licence first, and then as the packaged file has them."""
    rank = places(kind)
    return sorted(sets.items(), key=lambda item: (licence(item[1]) not in PERMISSIVE, rank[item[0]].rank))


def _shown(icon_set: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The icons of a set that its designer has not withdrawn, sorted by name."""
    return sorted((name, value) for name, value in icon_set["icons"].items() if not value.get("hidden"))


def _drawing(
    kind: Kind,
    concept: str,
    set_name: str,
    icon: str,
    value: Mapping[str, Any],
    icon_set: Mapping[str, Any],
    rank: tuple[int, ...],
) -> Drawing:
    left, top, width, height = (
        float(value.get(key, icon_set.get(key, default)))
        for key, default in (("left", 0), ("top", 0), ("width", _SIDE), ("height", _SIDE))
    )
    return Drawing(
        concept,
        places(kind)[set_name].family,
        f"{set_name}:{icon}",
        str(value.get("body", "")),
        (left, top, width, height),
        licence(icon_set) in PERMISSIVE,
        rank,
    )
