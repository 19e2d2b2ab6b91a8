"""Folders that are named after splits, and the classes in them. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from metaexp.core.errors import DataError
from metaexp.core.shapes import SPLITS, Split
from metaexp.data.files.folders import OTHER_SPLIT_NAME, SPLIT_NAMES


def splits_by_folder(classes: list[str], path: Path) -> dict[Split, list[str]] | None:
    """Return the classes of each split where their first folders name splits; None where they do not.

    Args:
        classes: The folders that have images.
        path: The folder or archive that they are in, for messages.

    Raises:
        DataError: Only some folders name splits, or folders look like splits under other names; a class is in two
            splits; or images lie beside the class folders.
    """
    inside = _common_folder(classes)
    folders = sorted({name.removeprefix(inside).split("/", 1)[0] for name in classes})
    named = [SPLIT_NAMES.get(folder.lower()) for folder in folders]
    if not any(named):
        _refuse_other_splits(folders, path)
        return None
    of_split = {split: folder for split, folder in zip(named, folders, strict=True) if split}
    if set(named) != set(SPLITS) or len(folders) != len(SPLITS):
        raise DataError(
            f"{path} has the folders {', '.join(folders)}: for a split of your own, have exactly train, val and "
            "test; for one by dataset.fractions, none of them."
        )
    loose = [name for name in classes if name.removeprefix(inside) in folders]
    if loose:
        raise DataError(f"{path}: images lie in {loose[0]} beside its class folders. Move them into one of these.")
    prefixes = {split: f"{inside}{of_split[split]}/" for split in SPLITS}
    splits: dict[Split, list[str]] = {
        split: [name for name in classes if name.startswith(prefixes[split])] for split in SPLITS
    }
    _refuse_shared({split: [n.removeprefix(prefixes[split]) for n in splits[split]] for split in SPLITS}, path)
    return splits


def _refuse_other_splits(folders: list[str], path: Path) -> None:
    """Raise DataError for folders whose names mean splits elsewhere, whose classes would be mixed."""
    odd = [folder for folder in folders if OTHER_SPLIT_NAME.fullmatch(folder.lower())]
    if len(odd) > 1 and len(odd) == len(folders):
        raise DataError(
            f"{path} has the folders {', '.join(folders)}, which look like splits. Call them train, val and test; or, "
            "to divide all their classes by dataset.fractions, call them something else."
        )


def _common_folder(classes: list[str]) -> str:
    """The folders, with a final slash, that all ``classes`` lie in and that name no split: an archive's own root."""
    parts = [name.split("/")[:-1] for name in classes]
    common: list[str] = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1 or level[0].lower() in SPLIT_NAMES:
            break
        common.append(level[0])
    return "".join(f"{folder}/" for folder in common)


def _refuse_shared(splits: Mapping[Split, list[str]], path: Path) -> None:
    """Raise DataError for a class that is in two splits, as in folders made for ordinary classification."""
    owner: dict[str, Split] = {}
    for split, names in splits.items():
        for name in names:
            if name in owner:
                raise DataError(
                    f"{path}: class {name} is in {owner[name]} and in {split}. In meta-learning the classes of the "
                    "splits must differ: new classes are what is tested."
                )
            owner[name] = split
