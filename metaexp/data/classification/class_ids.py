"""Identifiers that tell classes in all datasets and splits: digests of names and examples. It imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from metaexp.core.shapes import Split
from metaexp.data.base import Dataset
from metaexp.data.inventory.before_loading import ask_dataset

_DIGITS: Final = 12


def digest_of(content: bytes) -> str:
    """Return the identifier (hex) that a name or the bytes of examples give to a class."""
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def name_id(dataset: str, name: str) -> str:
    """Return the identifier that a class has by its name.

    Args:
        dataset: The name of the dataset, as its :class:`Origin` has it.
        name: The name of the class in it.
    """
    return digest_of(f"{dataset}\0{name}".encode("utf-8", "surrogateescape"))


def ids_of_names(dataset: str, splits: Mapping[Split, Sequence[str]]) -> dict[Split, dict[str, frozenset[str]]]:
    """Return the identifiers that classes have by their names, split by split.

    Args:
        dataset: The name of the dataset, as its :class:`Origin` has it.
        splits: The names of the classes of each split.
    """
    return {split: {name: frozenset([name_id(dataset, name)]) for name in names} for split, names in splits.items()}


def named_classes(dataset: Dataset, folder: Path) -> Mapping[Split, Mapping[str, frozenset[str]]] | None:
    """Return what :meth:`Dataset.class_ids_in` does.

    None, too, for a subclass that loads by a method of its own and has inherited the names of what another class loads.

    Args:
        dataset: The description of a dataset.
        folder: ``paths.data``.

    Raises:
        DataError: The files are missing or wrong.
        ConfigError: There is a mistake in a dataset of somebody's own.
    """
    classes = type(dataset).__mro__
    names, loads = (next(n for n, c in enumerate(classes) if what in vars(c)) for what in ("class_ids_in", "load"))
    return ask_dataset(dataset, "class_ids_in", folder) if names <= loads else None
