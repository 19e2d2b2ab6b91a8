"""Reads the arrays of an .npz file without pickle. Each is checked before memory is allocated for it.

Importing this module does not import torch.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from metaexp.core.errors import DataError
from metaexp.data.files.folder_scan import refuse_special

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.generic]

_BARE: Final = b"\x93NUMPY"
_FORMAT: Final = "numpy.savez(file, x=..., y=...)"
_MOST_HEADER: Final = 10_000
_DAMAGE: Final = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError, NotImplementedError
)  # fmt: skip


class Header(NamedTuple):
    """What the header of an array says."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def read_npz(path: Path, only: Collection[str] | None = None) -> dict[str, Array]:
    """Read the arrays of an .npz file.

    Args:
        path: The file.
        only: The names to read; None for all. Others are not read, and need not be right.

    Returns:
        Name -> array, in the order of the file.

    Raises:
        DataError: The file is damaged, is not an .npz file, or has an array of Python objects, one twice, or one whose
            size is not what its header says.
    """
    refuse_special(path)
    try:
        with path.open("rb") as file:
            is_bare = file.read(len(_BARE)) == _BARE
        if is_bare:
            raise DataError(f"{path} is one bare array (.npy). Save examples and labels together: {_FORMAT}.")
        found: dict[str, Array] = {}
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name == info.filename or (only is not None and name not in only):
                    continue
                if name in found:
                    raise DataError(f"{path} has the array {name} twice. Save it again: {_FORMAT}.")
                found[name] = _array(archive, info, f"{path}: {name}")
        return found
    except _DAMAGE as error:
        raise DataError(f"{path} is not an .npz file of plain arrays: {error}. Save it by {_FORMAT}.") from error


def array_headers(path: Path) -> dict[str, Header]:
    """Return the shape and type of each array in an .npz file, without reading the arrays.

    Raises:
        DataError: The file is not an .npz file, or a header is damaged.
    """
    read_npz(path, only=())
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name != info.filename:
                    with archive.open(info) as file:
                        shape, _, kind = _header(file, f"{path}: {name}")
                    found[name] = Header(shape, kind)
    except _DAMAGE as error:
        raise DataError(f"{path} is not an .npz file of plain arrays: {error}. Save it by {_FORMAT}.") from error
    return found


def pieces(path: Path, name: str, n_bytes: int) -> Iterator[Array]:
    """Read an array of an .npz file piece by piece along its first axis.

    Args:
        path: The file.
        name: The array.
        n_bytes: The size of a piece.

    Raises:
        DataError: The array is damaged, or is stored column by column.
    """
    import numpy as np

    where = f"{path}: {name}"
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            shape, by_column, kind = _header(file, where)
            if kind.hasobject or (by_column and len(shape) > 1):
                raise DataError(
                    f"{where} is stored column by column, and is too large to be read at once. Save "
                    "numpy.ascontiguousarray of it."
                )
            row = math.prod(shape[1:]) * kind.itemsize
            at_once = max(1, n_bytes // max(1, row))
            for start in range(0, shape[0], at_once):
                n_rows = min(at_once, shape[0] - start)
                content = file.read(n_rows * row)
                if len(content) != n_rows * row:
                    raise DataError(f"{where} is damaged: it ends within row {start + len(content) // max(1, row)}.")
                yield np.frombuffer(content, kind).reshape(n_rows, *shape[1:])
    except _DAMAGE as error:
        raise DataError(f"{where} is damaged: {error}.") from error


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Array:
    import numpy as np

    with archive.open(info) as file:
        shape, by_column, kind = _header(file, name)
        if kind.hasobject:
            raise DataError(
                f"{name} holds Python objects, such as lists of different lengths or text beside numbers; only numbers "
                "and text are read. Make it one plain array, such as by numpy.array(labels, dtype=str)."
            )
        n_bytes = math.prod(shape) * kind.itemsize
        if n_bytes != info.file_size - file.tell():
            raise DataError(f"{name} is damaged: it says {n_bytes} bytes, and has {info.file_size - file.tell()}.")
        content = file.read(n_bytes)
    if len(content) != n_bytes:
        raise DataError(f"{name} is damaged: it ends after {len(content)} of {n_bytes} bytes.")
    return np.frombuffer(content, kind).reshape(shape, order="F" if by_column else "C")


def _header(file: Any, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is stored by column, and type."""
    from numpy.lib import format as npy

    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        version = npy.read_magic(file)
        if version not in readers:
            raise DataError(f"{name} has version {version} of the format; versions 1.0 and 2.0 are read.")
        shape, by_column, kind = readers[version](file, max_header_size=_MOST_HEADER)
        if any(size < 0 for size in shape) or kind.itemsize == 0:
            raise DataError(f"{name} is damaged: its shape is {shape}.")
    except DataError:
        raise
    except Exception as error:  # a damaged header can raise anything
        raise DataError(f"{name} is damaged: its header cannot be read.") from error
    return shape, by_column, kind
