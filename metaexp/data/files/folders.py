"""Images in folders, one per class, and whether they are the classes they should be. Imports no torch."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from metaexp.core.counted import agreeing, counted
from metaexp.core.errors import DataError
from metaexp.core.shapes import SPLITS, Split

IMAGE_SUFFIXES: Final = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".jp2", ".j2k", ".jpx", ".bmp", ".dib", ".gif", ".webp",
    ".avif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pcx", ".tga", ".sgi", ".qoi",
)  # fmt: skip
_UNREAD_IMAGES: Final = (
    ".ai", ".arw", ".cr2", ".cr3", ".dcm", ".dicom", ".dng", ".emf", ".eps", ".exr", ".fit", ".fits", ".hdr", ".heic",
    ".heif", ".icns", ".ico", ".jxl", ".mha", ".mhd", ".nef", ".nii", ".npy", ".nrrd", ".orf", ".pdf",
    ".psd", ".raw", ".rw2", ".svg", ".svgz", ".wmf", ".xcf",
)  # fmt: skip
"""Suffixes of images, and of arrays that are often images, in formats that are not read."""
_OF_SYSTEMS: Final = ("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information")
"""Folders that macOS, NAS systems and Windows add, some with thumbnails or deleted images."""
SPLIT_NAMES: Final[Mapping[str, Split]] = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""What a folder of a split may be called, in small letters."""
OTHER_SPLIT_NAME: Final = re.compile(
    r"(?=.)((images|meta|my|the|data|set|few[-_ ]?shot)[-_ ]*)*"
    r"(base|novel|dev|seen|unseen|background|eval|evaluation|held[-_ ]?out|train(ing)?|val(id|idation)?|test(ing)?)"
    r"([-_ ]*(images|classes|data|set|split))*[-_ ]*[0-9]*"
)
"""What the folder of a split is called elsewhere, in small letters, such as ``meta_train`` or ``novel``."""


def images_by_folder(names: Iterable[str]) -> dict[str, list[str]]:
    """Group images by the folder that they are directly in, both sorted.

    Hidden files and the folders that systems add are left out.
    """
    files: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if _is_image(name) and not _is_hidden(name):
            files[name.rpartition("/")[0]].append(name)
    return {folder: sorted(files[folder]) for folder in sorted(files)}


def _format_ignored(names: Iterable[str], others: Mapping[str, int], in_classes: bool) -> str:
    """Such as ``3 hidden files, 2 files with the suffix .txt``; empty where every file is an example."""
    counts: Counter[str] = Counter(others)
    folders, with_images = set(), set()
    for name in names:
        folder = name.rpartition("/")[0]
        if _is_hidden(name):
            counts["hidden file"] += 1
            continue
        folders.add(folder)
        if not _is_image(name):
            suffix = PurePosixPath(name).suffix.lower()
            counts[f"file with the suffix {suffix}" if suffix else "file without a suffix"] += 1
        elif in_classes and not folder:
            counts["image beside the class folders"] += 1
        else:
            with_images.add(folder)
    counts["folder with files but no image"] = len(folders - with_images - {""})
    return ", ".join(counted(n, what) for what, n in counts.items() if n)


def ignored_lines(names: Collection[str], others: Mapping[str, int], path: Path, in_classes: bool = True) -> list[str]:
    """Return a line about files that are not examples, and a warning of images in formats that are not read.

    Args:
        names: The paths of all files.
        others: Kind in the singular -> number, of what is there beside the files, such as links.
        path: The folder or archive, for messages.
        in_classes: Whether an image must lie in the folder of a class.
    """
    ignored = _format_ignored(names, others, in_classes)
    lines = [f"Ignored in {path}: {ignored}."] if ignored else []
    suffixes = [PurePosixPath(name).suffix.lower() for name in names if not _is_hidden(name)]
    counts = Counter(suffix for suffix in suffixes if suffix in _UNREAD_IMAGES)
    if counts:
        found = ", ".join(counted(n, f"file with the suffix {suffix}") for suffix, n in sorted(counts.items()))
        lines.append(f"Warning: {found} in {path} may be images. Save them as PNG or TIFF to use them.")
    return lines


def is_example(name: str) -> bool:
    """Whether a file is an image by its name, and not hidden."""
    return _is_image(name) and not _is_hidden(name)


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part in _OF_SYSTEMS for part in name.split("/"))


def images_by_split(names: Iterable[str]) -> dict[Split, dict[str, list[str]]]:
    """Group images by split and class, for folders ``train/class``, ``val/class``, ``test/class``.

    Classes may be nested.
    """
    found: dict[Split, dict[str, list[str]]] = {split: {} for split in SPLITS}
    for folder, files in images_by_folder(names).items():
        for split in SPLITS:
            if folder.startswith(f"{split}/"):
                found[split][folder.removeprefix(f"{split}/")] = files
    return found


def check_classes(
    dataset: str, place: Path, sizes: Mapping[str, int], expected: Collection[str], per_class: int | None = None
) -> None:
    """Check that a published dataset is whole.

    Args:
        dataset: What messages call it.
        place: Where it was found.
        sizes: Class -> number of images found.
        expected: The classes that it should have.
        per_class: How many images each should have; None for any number.

    Raises:
        DataError: Classes are missing, do not belong there, or are not whole.
    """
    missing = sorted(set(expected) - set(sizes))
    extra = sorted(set(sizes) - set(expected))
    if missing or extra:
        first = f"{missing[0]} is missing" if missing else f"{extra[0]} does not belong there"
        raise DataError(
            f"{place} is not {dataset} as published: class {first}; "
            f"{counted(len(missing), 'class')} {agreeing(len(missing), 'is')} missing and {len(extra)} "
            f"{agreeing(len(extra), 'does')} not belong there."
        )
    wrong = sorted(name for name in expected if per_class is not None and sizes[name] != per_class)
    if wrong:
        raise DataError(
            f"{place} is not the whole {dataset}: class {wrong[0]} has {counted(sizes[wrong[0]], 'image')} and should "
            f"have {per_class}; {len(wrong)} of {len(expected)} classes {agreeing(len(wrong), 'is')} not whole."
        )
