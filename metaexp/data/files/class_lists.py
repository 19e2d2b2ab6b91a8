"""Packaged class lists of published splits. Importing this module does not import torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from metaexp.core.shapes import SPLITS, Split

_FOLDER = Path(__file__).parents[1] / "splits"


@cache
def class_lists(name: str) -> dict[Split, tuple[str, ...]]:
    """Return the classes of every split of the packaged list ``name``, in the order of the files.

    A file has one class a line; lines that begin with ``#`` say where the split comes from. ``NAME_trainval`` is
    the list ``NAME`` with the classes of validation in training, too, sorted.
    """
    if name.endswith("_trainval"):
        lists = class_lists(name.removesuffix("_trainval"))
        return lists | {"train": tuple(sorted(lists["train"] + lists["val"]))}
    return {split: read_class_list(_FOLDER / name / f"{split}.txt") for split in SPLITS}


def read_class_list(file: Path) -> tuple[str, ...]:
    """Return the classes in ``file``: its lines without blank ones and those that begin with ``#``."""
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))
