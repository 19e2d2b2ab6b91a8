"""Image files grouped by class, as one tensor of images."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from metaexp.core.counted import counted
from metaexp.core.errors import DataError
from metaexp.data.cache.prepared import Prepared
from metaexp.data.files.archives import Source
from metaexp.data.files.folder_scan import refuse_special, scan_folder
from metaexp.data.files.images import MOST_BYTES, Bytes, Reading, read_image, resize_array
from metaexp.data.files.progress import Progress
from metaexp.data.mapped.example_file import new_examples
from metaexp.data.pixels.reading_log import ReadingLog

_LINE_EVERY: Final = 5000


def from_files(
    source: Source, files: Mapping[str, Sequence[str]], reading: Reading, progress: Progress, advice: str = ""
) -> Prepared:
    """Read image files into one tensor (B, channels, size, size), resized by Lanczos.

    Args:
        source: Where the files are.
        files: Class -> its files, in the order of the result.
        reading: How each file becomes an array.
        progress: Receives a line now and then.
        advice: What to do where a file is missing; whole sentences.

    Returns:
        The images. The digest covers class names, the bytes of the files, and how unusual ones were read.

    Raises:
        DataError: A file is missing or no image.
    """
    order = {name: row for row, name in enumerate(name for names in files.values() for name in names)}
    twice = [name for name, times in Counter(n for names in files.values() for n in names).items() if times > 1]
    if twice:
        raise DataError(f"{source.path}: the lists name the image {twice[0]} twice. Each must be named once.")
    missing = sorted(set(order) - set(source.names()))
    if missing:
        lacks = f"{source.path} lacks {len(missing)} of {len(order)} images; the first is {missing[0]}."
        raise DataError(f"{lacks} {advice}".rstrip())
    contents = ((order[name], name, content) for name, content in source.items(order, MOST_BYTES))
    classes = {name: len(names) for name, names in files.items()}
    return _from_contents(contents, str(source.path), classes, reading, progress)


def from_encoded(encoded: Mapping[str, Sequence[bytes]], where: str, reading: Reading, progress: Progress) -> Prepared:
    """Do as :func:`from_files` with image files that are in memory.

    Args:
        encoded: Class -> the bytes of its image files.
        where: Where they are from, for messages.
        reading: How each file becomes an array.
        progress: Receives a line now and then.
    """
    named = ((f"image {i} of class {c}", content) for c, items in encoded.items() for i, content in enumerate(items))
    contents = ((row, name, content) for row, (name, content) in enumerate(named))
    return _from_contents(contents, where, {c: len(i) for c, i in encoded.items()}, reading, progress)


def _from_contents(
    contents: Iterable[tuple[int, str, bytes]],
    where: str,
    classes: dict[str, int],
    reading: Reading,
    progress: Progress,
) -> Prepared:
    """``contents`` are (row, name, bytes of an image file) from ``where``."""
    total = sum(classes.values())
    images = new_examples((total, reading.channels, reading.size, reading.size), classes)
    digests = np.zeros((total, 32), np.uint8)
    rows, log = set(), ReadingLog(where, reading)
    for row, name, content in contents:
        read = read_image(content, where, name, reading)
        images[row] = read.pixels
        log.add(read, name)
        raw = content + f"\0{read.treatment}".encode() if read.treatment else content
        digests[row] = np.frombuffer(hashlib.sha256(raw).digest(), np.uint8)
        rows.add(row)
        if len(rows) % _LINE_EVERY == 0:
            progress(f"  {len(rows)} of {counted(total, 'image')}")
    if len(rows) != total:
        raise DataError(
            f"{where} gave {len(rows)} of {counted(total, 'image')}; it changed while it was read. Try again."
        )
    if reading.has_range_key:
        log.values.finish(progress)
    for line in log.lines():
        progress(line)
    return Prepared(torch.from_numpy(images), classes, _digest(classes, digests))


def from_arrays(arrays: Mapping[str, Bytes], size: int) -> Prepared:
    """Resize images that are in memory with the Lanczos filter, and put them into one tensor (B, C, size, size).

    Args:
        arrays: Class -> its images (n, C, H, W) uint8.
        size: Height and width of the result, in pixels.

    Returns:
        The images. The digest covers class names and the images before they are resized.
    """
    classes = {name: len(array) for name, array in arrays.items()}
    first = next(iter(arrays.values()))
    images = new_examples((sum(classes.values()), first.shape[1], size, size), classes)
    digests = np.empty((len(images), 32), np.uint8)
    row = 0
    for array in arrays.values():
        for image in array:
            images[row] = resize_array(image, size, "lanczos")
            digests[row] = np.frombuffer(hashlib.sha256(image.tobytes()).digest(), np.uint8)
            row += 1
    return Prepared(torch.from_numpy(images), classes, _digest(classes, digests))


def images_digest(images: Bytes, classes: Mapping[str, int]) -> str:
    """Return the digest of :func:`from_arrays` for images (B, C, H, W) that are not resized.

    Args:
        images: The images (B, C, H, W), uint8, class by class.
        classes: Images of each class, by its name.
    """
    digests = [hashlib.sha256(image.tobytes()).digest() for image in images]
    return _digest(classes, np.frombuffer(b"".join(digests), np.uint8))


def fingerprint(paths: Sequence[Path], follow_links: bool = True) -> str:
    """Return a digest (hex) of names, sizes and times: whether prepared data is still that of the files.

    Nothing is read. The time of the last change counts beside that of the last modification, which can be set back.

    Args:
        paths: Files, and folders whose files all count.
        follow_links: Whether links to what is outside such a folder are followed.

    Raises:
        DataError: A folder cannot be read, or has links that may not be followed.
    """
    digest = hashlib.sha256()
    for path in paths:
        refuse_special(path)
        for file in sorted(scan_folder(path, follow_links).files.values()) if path.is_dir() else [path]:
            state = file.stat()
            digest.update(
                f"{file}\0{state.st_size}\0{state.st_mtime_ns}\0{state.st_ctime_ns}\0".encode(
                    "utf-8", "surrogateescape"
                )
            )
    return digest.hexdigest()


def _digest(classes: Mapping[str, int], digests: Bytes) -> str:
    names = "".join(f"{name}\0{n}\0" for name, n in classes.items())
    return hashlib.sha256(names.encode("utf-8", "surrogateescape") + digests.tobytes()).hexdigest()
