"""Make the packaged lists of concepts from the archive: ``python -m metaexp.data.icons.package FOLDER``.

FOLDER is ``paths.data``. The lists are part of the datasets: other lists are other datasets, and records are of these.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from metaexp.core.shapes import SPLITS, Split
from metaexp.data.base import Progress
from metaexp.data.classification.random_split import split_by_fractions
from metaexp.data.icons.archive import VERSION, find_archive, read_sets
from metaexp.data.icons.concepts import words_in_common
from metaexp.data.icons.equal import equal_drawings
from metaexp.data.icons.lists import LEAST, LEAST_DRAWINGS, Counts, SplitBy
from metaexp.data.icons.render import render_all
from metaexp.data.icons.select import Drawing, drawings, n_families
from metaexp.data.icons.sets import FOLDER, Kind, licence, places

FRACTIONS: Final = (0.64, 0.16, 0.2)
_SIZE: Final = 28
"""Pixels at which drawings are compared."""
_LARGE: Final = 50
"""Concepts of a category that is placed before smaller ones."""
_ABOUT: Final[Mapping[SplitBy, str]] = {
    "random": "Concepts divided at random, 64 / 16 / 20, by the hash of random_split.py with seed 0.",
    "category": "Whole categories in one split, near to 64 / 16 / 20: {what}.",
}
_CATEGORIES: Final[Mapping[Kind, str]] = {
    "icons": "concepts that share a word of their names",
    "emoji": "the categories of Unicode, as twemoji and noto have them",
}


def main(folder: Path, progress: Progress = print) -> None:
    """Write the lists of both datasets.

    Args:
        folder: ``paths.data``, where the archive is or goes.
        progress: Receives a line now and then.
    """
    archive = find_archive(folder, progress)
    kinds: tuple[Kind, ...] = ("icons", "emoji")
    for kind in kinds:
        sets = read_sets(archive, places(kind))
        reasons = _equal(kind, sets, progress)
        _write(
            FOLDER / kind / "left_out.txt",
            ["Drawings that are left out, each with what it equals; blank: it shows nothing."],
            (f"{source} {reason}" for source, reason in sorted(reasons.items())),
        )
        numbers = _numbers(kind, sets, reasons)
        _write(
            FOLDER / kind / "licences.txt",
            [f"The sets of @iconify/json {VERSION}: name, SPDX licence, drawings in the classes of the lists."],
            _licences(kind, sets, reasons, numbers),
        )
        categories = words_in_common(numbers) if kind == "icons" else emoji_categories(sets, numbers)
        for split_by in ("random", "category"):
            parts = split_by_fractions(numbers, FRACTIONS, 0) if split_by == "random" else split_by_category(categories)
            for split in SPLITS:
                about = [
                    _ABOUT[split_by].format(what=_CATEGORIES[kind]),
                    f"From @iconify/json {VERSION}. Concept, designers and drawings: permissive licences, then all.",
                ]
                lines = (" ".join([c, *map(str, numbers[c])]) for c in parts[split])
                _write(FOLDER / f"{kind}_{split_by}" / f"{split}.txt", about, lines)
        progress(f"{kind}: {len(numbers)} concepts, {len(reasons)} drawings left out.")


def split_by_category(categories: Mapping[str, str]) -> dict[Split, list[str]]:
    """Divide concepts so that each category is in one split.

    Each goes to the split that lacks most of its part at that time: large ones first, then the others in the order of
    a hash.

    Args:
        categories: Concept -> its category.
    """
    members: dict[str, list[str]] = {}
    for concept, category in categories.items():
        members.setdefault(category, []).append(concept)
    parts: dict[Split, list[str]] = {split: [] for split in SPLITS}
    order = {category: hashlib.sha256(f"0\0{category}".encode()).digest() for category in members}
    for category in sorted(members, key=lambda c: (-len(members[c]) if len(members[c]) >= _LARGE else 0, order[c])):
        wanting = {s: fraction * len(categories) - len(parts[s]) for s, fraction in zip(SPLITS, FRACTIONS, strict=True)}
        parts[max(SPLITS, key=lambda split: wanting[split])] += members[category]
    return {split: sorted(concepts) for split, concepts in parts.items()}


def emoji_categories(sets: Mapping[str, Mapping[str, Any]], concepts: Iterable[str]) -> dict[str, str]:
    """Return the category of each emoji, as the sets that give code points have it; ``Other`` where none has.

    Args:
        sets: The JSON of the sets, by their names.
        concepts: The emoji, by the names of their classes.
    """
    known: dict[str, str] = {}
    for name in ("twemoji", "noto", "fluent-emoji-flat"):
        category_of = {
            icon: category for category, icons in (sets[name].get("categories") or {}).items() for icon in icons
        }
        for code, icon in (sets[name].get("chars") or {}).items():
            if icon in category_of:
                known.setdefault(code, category_of[icon])
    return {concept: known.get(concept.partition("_")[0], "Other") for concept in concepts}


def _equal(kind: Kind, sets: Mapping[str, Mapping[str, Any]], progress: Progress) -> dict[str, str]:
    found = drawings(kind, sets, permissive_only=False)
    many = [of_it for of_it in found.values() if n_families(of_it) >= LEAST[kind]]
    everything = [drawing for of_it in many for drawing in of_it]
    images = render_all(everything, _SIZE, 1 if kind == "icons" else 3, progress)
    parts, first = [], 0
    for of_it in many:
        parts.append(images[first : first + len(of_it)])
        first += len(of_it)
    return equal_drawings(many, parts)


def _numbers(kind: Kind, sets: Mapping[str, Mapping[str, Any]], reasons: Mapping[str, str]) -> dict[str, Counts]:
    """The concepts that enough designers drew, with their counts."""
    every, free = (drawings(kind, sets, only, reasons) for only in (False, True))

    def count(of_it: list[Drawing]) -> tuple[int, int]:
        return n_families(of_it), len(of_it)

    numbers = {c: Counts(*count(free.get(c, [])), *count(every[c])) for c in every}
    return {c: n for c, n in numbers.items() if n.all_designers >= LEAST[kind] and n.all_drawings >= LEAST_DRAWINGS}


def _licences(
    kind: Kind, sets: Mapping[str, Mapping[str, Any]], reasons: Mapping[str, str], concepts: Iterable[str]
) -> list[str]:
    """A line for each set whose drawings are used."""
    every = drawings(kind, sets, False, reasons)
    used = Counter(drawing.source.partition(":")[0] for concept in concepts for drawing in every[concept])
    return [f"{name} {licence(sets[name])} {used[name]}" for name in places(kind) if used[name]]


def _write(path: Path, about: list[str], lines: Iterable[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in [*(f"# {text}" for text in about), *lines]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
