"""Images in folders, one per class, and whether they are the classes they should be. Imports no torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from metaexp.core.errors import DataError
from metaexp.core.shapes import SPLITS, Split

IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def images_by_folder(names: Iterable[str]) -> dict[str, list[str]]:
    """Folder -> the images directly in it, both sorted. Hidden files and what macOS adds to archives are left out."""
    files: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folder, _, file = name.rpartition("/")
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
        if file.lower().endswith(IMAGE_SUFFIXES) and not hidden:
            files[folder].append(name)
    return {folder: sorted(files[folder]) for folder in sorted(files)}


def images_by_split(names: Iterable[str]) -> dict[Split, dict[str, list[str]]]:
    """Split -> class -> images, for folders ``train/class``, ``val/class``, ``test/class``; classes may be nested."""
    found: dict[Split, dict[str, list[str]]] = {split: {} for split in SPLITS}
    for folder, files in images_by_folder(names).items():
        for split in SPLITS:
            if folder.startswith(f"{split}/"):
                found[split][folder.removeprefix(f"{split}/")] = files
    return found


def check_classes(
    dataset: str, place: Path, sizes: Mapping[str, int], expected: Collection[str], per_class: int | None = None
) -> None:
    """Raise DataError unless ``sizes`` has exactly the classes ``expected``, of ``per_class`` images where given."""
    missing = sorted(set(expected) - set(sizes))
    extra = sorted(set(sizes) - set(expected))
    if missing or extra:
        first = f"{missing[0]} is missing" if missing else f"{extra[0]} does not belong there"
        raise DataError(
            f"{place} is not {dataset} as published: class {first}; "
            f"{len(missing)} classes are missing and {len(extra)} do not belong there."
        )
    wrong = sorted(name for name in expected if per_class is not None and sizes[name] != per_class)
    if wrong:
        raise DataError(
            f"{place} is not the whole {dataset}: class {wrong[0]} has {sizes[wrong[0]]} images and should have "
            f"{per_class}; so it is with {len(wrong)} of {len(expected)} classes."
        )
