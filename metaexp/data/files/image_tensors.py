"""Image files grouped by class, as one tensor of images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image

from metaexp.core.errors import DataError
from metaexp.data.base import Progress
from metaexp.data.files.archives import Source
from metaexp.data.files.cache import Prepared
from metaexp.data.files.images import MOST_BYTES, Bytes, Resampling, open_image, resize_array, to_array

_TELL_EVERY: Final = 5000

Crop = Callable[[str, Image.Image], Image.Image]
"""(file name, image) -> the part of it to use."""


def from_files(
    source: Source,
    files: Mapping[str, Sequence[str]],
    channels: int,
    size: int,
    progress: Progress,
    crop: Crop | None = None,
) -> Prepared:
    """The images in ``files`` (class -> file names) of ``source`` as (B, channels, size, size), resized by Lanczos.

    Raises DataError for a file that is missing or no image. The digest covers class names and the files' bytes.
    """
    order = {name: row for row, name in enumerate(name for names in files.values() for name in names)}
    missing = sorted(set(order) - set(source.names()))
    if missing:
        raise DataError(f"{source.path} lacks {len(missing)} of {len(order)} images; the first is {missing[0]}.")
    contents = ((order[name], name, content) for name, content in source.items(order, MOST_BYTES))
    classes = {name: len(names) for name, names in files.items()}
    return _from_contents(contents, str(source.path), classes, channels, size, progress, crop)


def from_encoded(
    encoded: Mapping[str, Sequence[bytes]], where: str, channels: int, size: int, progress: Progress
) -> Prepared:
    """The image files held in ``encoded`` (class -> their bytes), as :func:`from_files`; they come from ``where``."""
    named = ((f"image {i} of class {c}", content) for c, items in encoded.items() for i, content in enumerate(items))
    contents = ((row, name, content) for row, (name, content) in enumerate(named))
    return _from_contents(contents, where, {c: len(i) for c, i in encoded.items()}, channels, size, progress)


def _from_contents(
    contents: Iterable[tuple[int, str, bytes]],
    where: str,
    classes: dict[str, int],
    channels: int,
    size: int,
    progress: Progress,
    crop: Crop | None = None,
) -> Prepared:
    """``contents`` are (row, name, bytes of an image file), each row once, from ``where``."""
    total = sum(classes.values())
    images = np.empty((total, channels, size, size), np.uint8)
    digests = np.empty((total, 32), np.uint8)
    for done, (row, name, content) in enumerate(contents, 1):
        image = open_image(content, f"{where}: {name}")
        images[row] = to_array(crop(name, image) if crop else image, channels, size, "lanczos")
        digests[row] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
        if done % _TELL_EVERY == 0:
            progress(f"  {done} of {total} images")
    return Prepared(torch.from_numpy(images), classes, _digest(classes, digests))


def from_arrays(arrays: Mapping[str, Bytes], size: int, resize: Resampling = "lanczos") -> Prepared:
    """The images in ``arrays`` (class -> (n, C, H, W) uint8) as (B, C, size, size).

    The digest covers class names and the images before they are resized.
    """
    classes = {name: len(array) for name, array in arrays.items()}
    first = next(iter(arrays.values()))
    images = np.empty((sum(classes.values()), first.shape[1], size, size), np.uint8)
    digests = np.empty((len(images), 32), np.uint8)
    row = 0
    for array in arrays.values():
        for image in array:
            images[row] = resize_array(image, size, resize)
            digests[row] = np.frombuffer(hashlib.sha256(image.tobytes()).digest(), np.uint8)
            row += 1
    return Prepared(torch.from_numpy(images), classes, _digest(classes, digests))


def fingerprint(paths: Sequence[Path]) -> str:
    """A digest (hex) of the names, sizes and modification times of files and of all files in folders: tells, without
    reading them, whether prepared data is still that of these files."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                state = file.stat()
                digest.update(f"{file}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def _digest(classes: Mapping[str, int], digests: Bytes) -> str:
    names = "".join(f"{name}\0{n}\0" for name, n in classes.items())
    return hashlib.sha256(names.encode() + digests.tobytes()).hexdigest()
