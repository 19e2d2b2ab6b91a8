"""The table of ``metaexp data list``. Importing this module does not import torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from metaexp.core.counted import listed
from metaexp.core.errors import MetaexpError, first_line
from metaexp.core.terminal_text import align_columns, wrap_lines
from metaexp.data.base import Dataset
from metaexp.data.inventory.caches import cache_files
from metaexp.data.inventory.sources import Sources

_HERE = {"computed": "computed", "fonts": "here", "own files": "here", "by hand": "here", "fetched": "here"}
_MISSING = {"fetched": "can be fetched", "by hand": "by hand", "own files": "give your own", "fonts": "no fonts"}

_MOST_PLACES = 3
"""How many folders of one dataset the table names."""


class Row(NamedTuple):
    """A dataset in the table.

    Attributes:
        name: Its name.
        kind: ``classification`` or ``regression``.
        state: Whether its files are here.
        size: The size of its files and of what was prepared from them.
        where: The place of its files, or what to do; and whether its test episodes are fixed.
    """

    name: str
    kind: str
    state: str
    size: str
    where: str


def row(name: str, dataset: Dataset, folder: Path, place: Path | None) -> Row:
    """Look where the files of a dataset are, and return its row.

    Args:
        name: Its name.
        dataset: Its description.
        folder: ``paths.data``.
        place: The folder of the cache; None where there is none.
    """
    kind, sources = dataset.kind, dataset.sources(folder)
    fixed = ["fixed test episodes"] if _is_fixed(dataset, folder) else []
    if sources is None:
        return Row(name, kind, "?", "", "; ".join(["its class does not say which files it reads", *fixed]))
    prepared = sum(path.stat().st_size for path in cache_files(place, sources.cache))
    size = _format_size(sources) + (f" + {_format_megabytes(prepared)} prepared" if prepared else "")
    if sources.advice:
        state, advice = _MISSING.get(sources.how, "missing"), _format_advice(name, sources, dataset)
        return Row(name, kind, state, size.removeprefix(" + "), "; ".join([advice, *fixed]))
    where = "; ".join(part for part in (_format_place(sources, folder), *fixed) if part)
    return Row(name, kind, _HERE[sources.how], size.removeprefix(" + "), where)


def unusable(name: str, error: MetaexpError) -> Row:
    """Return the row of a dataset that cannot be made.

    Args:
        name: Its name.
        error: Why it cannot be made.
    """
    return Row(name, "?", "?", "", first_line(error))


def format_table(rows: Sequence[Row], folder: Path) -> str:
    """Format the table. On a terminal no line is wider than it.

    Args:
        rows: A row for each dataset.
        folder: ``paths.data``, for the first line.
    """
    head = Row("dataset", "kind", "files", "size", "where, or what to do")
    lines = align_columns([head, *rows])
    note = f"paths.data is {folder.absolute()}" + ("" if folder.is_dir() else ", which is not there") + "."
    return wrap_lines("\n".join([*lines, "", note, "`metaexp data show NAME` says more of one, and how to get it."]))


def _is_fixed(dataset: Dataset, folder: Path) -> bool:
    try:
        return dataset.fixed_bank(folder) is not None
    except (MetaexpError, OSError):
        return False


def _format_size(sources: Sources) -> str:
    n_bytes = sources.n_bytes
    return _format_megabytes(n_bytes) if n_bytes else ""


def _format_megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 50_000 else f"{n_bytes / 1e3:.1f} kB"


def _format_place(sources: Sources, folder: Path) -> str:
    """The file, or the folders in which the files are; one folder for those that have it in paths.data in common."""
    paths = [file.path.absolute() for file in sources.files]
    if len(paths) < 2:
        return "".join(map(str, paths))
    common = Path(os.path.commonpath(paths))
    if common.is_relative_to(folder.absolute()):
        return str(common)
    folders = {path if path.is_dir() else path.parent for path in paths}
    outer = sorted(place for place in folders if folders.isdisjoint(place.parents))
    return listed(list(map(str, outer)), _MOST_PLACES)


def _format_advice(name: str, sources: Sources, dataset: Dataset) -> str:
    if sources.how == "by hand":
        stand_in = "; until then dataset.stand_in=true" if hasattr(dataset, "stand_in") else ""
        return f"metaexp data show {name}{stand_in}"
    if sources.how == "fetched":
        return sources.advice_for(name)
    return f"metaexp data show {name}" if sources.how == "own files" else sources.advice.splitlines()[0]
