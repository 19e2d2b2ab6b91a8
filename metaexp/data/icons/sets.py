"""Which sets are read, and who designed them. Importing this module does not import torch.

The packaged file has a line for each designer family: its name, then its sets, the preferred one first. Versions of a
set, copies of it under another name, and sets of one designer are one family, so a family is one hand.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from metaexp.core.errors import ConfigError
from metaexp.data.files.class_lists import read_class_list

FOLDER: Final = Path(__file__).parents[1] / "splits"
Kind = Literal["icons", "emoji"]
Licences = Literal["permissive", "all"]
PERMISSIVE: Final = frozenset(
    ("Apache-2.0", "BSD-3-Clause", "CC-BY-3.0", "CC-BY-4.0", "CC0-1.0", "ISC", "MIT", "Unlicense")
)
"""SPDX names of licences that ask only for attribution: no share-alike, copyleft or non-commercial terms."""


class Place(NamedTuple):
    """A set among the others.

    Attributes:
        family: The designer family.
        rank: Its place in the file; smaller is preferred.
    """

    family: str
    rank: int


@cache
def places(kind: Kind) -> dict[str, Place]:
    """Return the sets that are read, each with its family.

    Args:
        kind: ``icons`` or ``emoji``.
    """
    lines = [line.split() for line in read_class_list(FOLDER / kind / "sets.txt")]
    sets = [(name, family) for family, *names in lines for name in names]
    return {name: Place(family, rank) for rank, (name, family) in enumerate(sets)}


def families(kind: Kind) -> list[str]:
    """Return the names of the designer families, in the order of the file."""
    return list(dict.fromkeys(place.family for place in places(kind).values()))


def check_family(kind: Kind, family: str | None) -> None:
    """Check the name of a designer family.

    Args:
        kind: ``icons`` or ``emoji``.
        family: ``dataset.leave_out``; None for none.

    Raises:
        ConfigError: There is no such family.
    """
    if family is not None and family not in families(kind):
        near = get_close_matches(family, families(kind), n=1)
        raise ConfigError(
            f"dataset.leave_out={family} is not a designer of dataset={kind}. "
            + (f"Did you mean {near[0]}?" if near else f"The designers are {', '.join(families(kind))}.")
        )


def licence(icon_set: Any) -> str:
    """Return the SPDX name of the licence of a set, as the archive has it; ``unknown`` without one."""
    return str(icon_set.get("info", {}).get("license", {}).get("spdx", "unknown"))
