"""Names of classes and tasks that differ only in how they are written. Importing this module does not import torch."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path

from metaexp.core.counted import agreeing, counted, plural
from metaexp.data.files.folders import SPLIT_NAMES
from metaexp.data.files.progress import Progress

_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{0,8})?")
"""As many digits as a Decimal keeps exactly."""


def warn_of_alike_names(names: Collection[str], group: str, path: Path, progress: Progress) -> None:
    """Say which names are the same but for capitals, blanks, the encoding of accents, and how a number is written.

    Names of one letter, such as those of characters, may well differ by that. The folder of a split is not part of a
    name, so ``train/Cat`` and ``test/cat`` are found. So are ``3``, ``3.0`` and ``03``: programs write whole
    numbers as floats where one is missing in the column.

    Args:
        names: The classes or tasks, in the order of the splits or not.
        group: What these are: ``class``, ``task`` or ``series``.
        path: The file or folder, for messages.
        progress: Receives a line if there are such names.
    """
    known: dict[str, list[str]] = {}
    for name in names:
        known.setdefault(_as_spoken(name), []).append(name)
    alike = [written for spoken, written in known.items() if len(written) > 1 and len(spoken) > 1]
    if alike:
        groups = plural(group)
        others = f" So {agreeing(len(alike) - 1, 'does')} {counted(len(alike) - 1, 'other')}." if len(alike) > 1 else ""
        progress(
            f"Warning: {path}: the {groups} {' and '.join(map(repr, alike[0]))} differ only in how they are written."
            f"{others} They count as different {groups}; if they are the same, give them one name."
        )


def _as_spoken(name: str) -> str:
    """A name without the folder of a split, in small letters, with accents in one encoding and single blanks.

    A number in it is a mark and its shortest form, so that one of one digit is longer than a letter.
    """
    parts = [part for part in name.split("/") if part.lower() not in SPLIT_NAMES]
    spoken = " ".join(unicodedata.normalize("NFC", "/".join(parts or [name])).casefold().split())
    return "/".join(
        f"\0{Decimal(part).normalize() + 0}" if _NUMBER.fullmatch(part) else part for part in spoken.split("/")
    )
