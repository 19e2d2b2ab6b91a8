"""Reads the examples of a large .npz file piece by piece, into a file that is mapped into memory."""

from __future__ import annotations

import hashlib
import math
import zipfile
from pathlib import Path
from typing import Final

import numpy as np
import torch

from metaexp.data.base import Progress
from metaexp.data.cache.prepared import Prepared
from metaexp.data.files.labelled_arrays import Labels, class_sizes, examples_in, examples_of
from metaexp.data.files.npz import Header, array_headers, pieces
from metaexp.data.mapped.example_file import new_examples

_PIECE: Final = 2**26
"""Bytes that are read at once."""


def size_of_examples(path: Path) -> int:
    """Return the bytes that the examples of a file take in memory, whether or not its arrays fit together.

    Raises:
        DataError: The file is damaged.
    """
    headers = {name: header for name, header in array_headers(path).items() if name.startswith("x")}
    with zipfile.ZipFile(path) as archive:
        if any(
            math.prod(shape) * dtype.itemsize > archive.getinfo(f"{name}.npy").file_size
            for name, (shape, dtype) in headers.items()
        ):
            return 0  # damaged, as reading it says
    return sum(math.prod(shape) * (1 if dtype == np.uint8 else 4) for shape, dtype in headers.values())


def total_of(parts: list[Header]) -> Header:
    """Return the shape and type of the examples of all parts together."""
    return Header((sum(part.shape[0] for part in parts), *parts[0].shape[1:]), parts[0].dtype)


def digest_begin(shape: tuple[int, ...], dtype: object, labels: Labels) -> hashlib._Hash:
    """Return the digest of labelled arrays, to which the bytes of the examples are still to be added.

    Args:
        shape: The shape of all examples.
        dtype: Their type.
        labels: Their labels.
    """
    return hashlib.sha256(repr((shape, str(dtype))).encode() + labels.y.astype(np.str_).tobytes())


def prepare_arrays(path: Path, labels: Labels, progress: Progress) -> Prepared:
    """Return the examples of a file, ordered by class, and never hold more than a piece of them in memory.

    Args:
        path: The .npz file.
        labels: Its labels.
        progress: Receives a line.

    Raises:
        DataError: The file is damaged, or has values that are not finite.
    """
    progress(f"Reading {path} piece by piece.")
    parts = examples_in(path)
    shape, dtype = total_of(list(parts.values()))
    classes = class_sizes(labels)
    digest = digest_begin(shape, dtype, labels)
    place = np.empty(shape[0], np.int64)
    place[np.argsort(labels.y, kind="stable")] = np.arange(shape[0])
    found = new_examples(shape, classes, str(dtype))
    row = 0
    for name in parts:
        begin = row
        for piece in pieces(path, name, _PIECE):
            x = examples_of(piece, name, path, row - begin)
            digest.update(x.tobytes())
            found[place[row : row + len(x)]] = x
            row += len(x)
    return Prepared(torch.from_numpy(found), classes, digest.hexdigest())
