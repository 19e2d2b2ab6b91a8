"""Classes and tasks with too few examples, which are left out. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from metaexp.core.counted import counted, listed
from metaexp.core.errors import DataError
from metaexp.core.shapes import Split
from metaexp.data.files.progress import Progress

_NAMED = 5
_KEYS = ("min_images", "min_examples")


def leave_out_key(keys: Collection[str]) -> str:
    """Return the key that leaves small classes or tasks out of a dataset; "" where it has none."""
    return next((key for key in _KEYS if key in keys), "")


def large_enough(
    sizes: Mapping[str, int], least: int | None, key: str, group: str, path: Path, progress: Progress
) -> dict[str, int]:
    """Return the classes or tasks that have enough examples, and say which have not.

    Args:
        sizes: Class or task -> its number of examples.
        least: The least number that stays; None leaves out none.
        key: The key of ``least`` in the dataset's section, for messages.
        group: What these are: ``class``, ``task`` or ``series``.
        path: The file or folder, for messages.
        progress: Receives a line where something is left out.

    Raises:
        DataError: No class is large enough.
    """
    if least is None:
        return dict(sizes)
    small = sorted((size, name) for name, size in sizes.items() if size < least)
    if len(small) == len(sizes):
        raise DataError(
            f"dataset.{key}={least} leaves out every {group} of {path}; the largest has "
            f"{counted(max(sizes.values(), default=0), 'example')}. Lower dataset.{key}."
        )
    if small:
        named = listed([f"{name} ({size})" for size, name in small], _NAMED, more="others")
        progress(
            f"Left out of {path}: {counted(len(small), group)} with fewer than {counted(least, 'example')} "
            f"(dataset.{key}): {named}."
        )
    return {name: size for name, size in sizes.items() if size >= least}


def only_these(
    kept: Collection[str], splits: Mapping[Split, Sequence[str]], setting: str, path: Path
) -> dict[Split, list[str]]:
    """Return the splits without what is left out.

    Args:
        kept: The classes or tasks that stay.
        splits: Those of each split, in order.
        setting: The key that leaves out the others, with its value, for messages.
        path: The file or folder, for messages.

    Raises:
        DataError: A split that had classes has none left.
    """
    found = {split: [name for name in names if name in kept] for split, names in splits.items()}
    empty = [split for split, names in splits.items() if names and not found[split]]
    if empty:
        raise DataError(f"{setting} leaves nothing in the {empty[0]} split of {path}. Lower it.")
    return found
