"""The packaged lists of concepts: the split of each, and how many designers drew it. It imports no torch.

A line has a concept, then designers and drawings with a permissive licence, then designers and drawings of all. A
concept is in the same split for all licences and all numbers of designers, so the classes of a strict choice are among
those of a wide one, split by split.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, Literal, NamedTuple

from metaexp.core.errors import ConfigError
from metaexp.core.shapes import SPLITS, Capacity, Split
from metaexp.data.files.class_lists import read_class_list
from metaexp.data.icons.sets import FOLDER, Kind, Licences

SplitBy = Literal["random", "category"]
LEAST: Final[Mapping[Kind, int]] = {"icons": 10, "emoji": 4}
"""Designers of the concepts in the lists: fewer cannot be asked for."""
LEAST_DRAWINGS: Final = 6
"""The fewest drawings of a class: enough for 5 shots and a query."""


class Counts(NamedTuple):
    """The designers and the drawings of a concept: those with a permissive licence, and all."""

    designers: int
    drawings: int
    all_designers: int
    all_drawings: int

    def of(self, licences: Licences) -> tuple[int, int]:
        """Return designers and drawings under a choice of licences."""
        return (self.designers, self.drawings) if licences == "permissive" else self[2:]


@cache
def counts(kind: Kind, split_by: SplitBy) -> dict[Split, dict[str, Counts]]:
    """Return the counts of each concept, split by split.

    Args:
        kind: ``icons`` or ``emoji``.
        split_by: How concepts are divided.
    """
    return {split: _read(kind, split_by, split) for split in SPLITS}


@cache
def left_out(kind: Kind) -> frozenset[str]:
    """Return the sources (``set:name``) of drawings that are left out: equal to another's, or blank."""
    return frozenset(line.split()[0] for line in read_class_list(FOLDER / kind / "left_out.txt"))


def classes(kind: Kind, split_by: SplitBy, licences: Licences, least: int) -> dict[Split, dict[str, int]]:
    """Return the classes of each split, with the drawings of each.

    Args:
        kind: ``icons`` or ``emoji``.
        split_by: How concepts are divided.
        licences: Whose drawings count.
        least: Designers that a concept must have been drawn by, at least.
    """
    found: dict[Split, dict[str, int]] = {}
    for split, concepts in counts(kind, split_by).items():
        numbers = {concept: count.of(licences) for concept, count in concepts.items()}
        found[split] = {c: n for c, (designers, n) in numbers.items() if designers >= least and n >= LEAST_DRAWINGS}
    return found


def capacity(chosen: Mapping[Split, Mapping[str, int]]) -> dict[Split, Capacity]:
    """Return the number of classes of each split, and the drawings of the smallest."""
    return {split: Capacity(len(of_split), min(of_split.values())) for split, of_split in chosen.items()}


def check_least(kind: Kind, split_by: SplitBy, licences: Licences, least: int) -> None:
    """Check the least number of designers.

    Args:
        kind: ``icons`` or ``emoji``.
        split_by: How concepts are divided.
        licences: Whose drawings count.
        least: ``dataset.designers``.

    Raises:
        ConfigError: The number is too small for the lists, or so large that a split has no class.
    """
    if least < LEAST[kind]:
        raise ConfigError(
            f"dataset.designers={least} is too few: the lists have the concepts of at least {LEAST[kind]} designers."
        )
    if not all(classes(kind, split_by, licences, least).values()):
        found = classes(kind, split_by, licences, LEAST[kind])
        numbers = counts(kind, split_by)
        most = min(max(numbers[s][c].of(licences)[0] for c in found[s]) for s in SPLITS)
        raise ConfigError(
            f"dataset.designers={least} is too many: with dataset.licences={licences} the concept of most designers in "
            f"one of the splits has {most}. Give {LEAST[kind]} to {most}."
        )


def _read(kind: Kind, split_by: SplitBy, split: Split) -> dict[str, Counts]:
    lines = (line.split() for line in read_class_list(FOLDER / f"{kind}_{split_by}" / f"{split}.txt"))
    return {concept: Counts(*map(int, numbers)) for concept, *numbers in lines}
