"""Large sets of examples: written to a safetensors file piece by piece, and mapped into memory to be read.

A mapped file takes no memory of the process. The system reads the pages that are used, keeps them as long as there is
room, and all processes share them.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from metaexp.core.disk.drafts import is_left_behind
from metaexp.core.disk.locks import acquire
from metaexp.core.errors import DataError
from metaexp.data.mapped.placement import available_memory, stays_on_disk

Array = npt.NDArray[Any]

_NAMES: Final = {"uint8": "U8", "float32": "F32"}
_TYPES: Final = {"U8": torch.uint8, "F32": torch.float32}
_LENGTH_BYTES: Final = 8
_MOST_HEADER: Final = 100_000_000
_SPARE: Final = 65_536
_PAGE: Final = 4096
_DAY: Final = 86_400
_MADV_RANDOM, _MADV_WILLNEED = 1, 3  # of Linux


class ExampleFile:
    """A safetensors file whose examples are written in any order, and whose header comes last.

    Attributes:
        path: The file.
        array: (B, ...) the examples, to be written to.
    """

    def __init__(self, path: Path, shape: Sequence[int], dtype: str, room: int) -> None:
        """Make the file, of its full size.

        Args:
            path: The file, which must not exist.
            shape: The shape of all examples, (B, ...).
            dtype: ``uint8`` or ``float32``.
            room: Bytes that the text of the header may need.

        Raises:
            OSError: The file cannot be made, or the disk is full.
        """
        self.path = path
        self._header = (room + _SPARE) // _PAGE * _PAGE + _PAGE - _LENGTH_BYTES
        self._dtype, self._shape = dtype, tuple(shape)
        self._n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        start = _LENGTH_BYTES + self._header
        with path.open("xb") as file:
            if hasattr(os, "posix_fallocate"):  # else a full disk would end the process while it writes
                os.posix_fallocate(file.fileno(), 0, start + self._n_bytes)
            else:
                file.truncate(start + self._n_bytes)
        self.array: Array = np.memmap(path, np.dtype(dtype), "r+", start, self._shape)

    def holds(self, examples: Tensor) -> bool:
        """Return whether ``examples`` (B, ...) are those of this file, as they lie there."""
        return tuple(examples.shape) == self._shape and examples.data_ptr() == self.array.ctypes.data

    def finish(self, metadata: Mapping[str, str]) -> None:
        """Write the header.

        Raises:
            OSError: The file cannot be written.
        """
        entry = {"dtype": _NAMES[self._dtype], "shape": list(self._shape), "data_offsets": [0, self._n_bytes]}
        text = json.dumps({"__metadata__": dict(metadata), "examples": entry}).encode().ljust(self._header)
        if len(text) != self._header:
            raise OSError(f"the header needs {len(text)} bytes, and {self._header} were left for it")
        with self.path.open("r+b") as file:
            file.write(len(text).to_bytes(_LENGTH_BYTES, "little") + text)


class FilePlace:
    """Where the examples that are being prepared can be written, if they do not fit into memory."""

    def __init__(self, path: Path) -> None:
        """Take the path of the file to make."""
        self.path = path
        self.file: ExampleFile | None = None
        self.release: Callable[[], None] = lambda: None


_place: ContextVar[FilePlace | None] = ContextVar("place", default=None)


@contextlib.contextmanager
def offer_file(path: Path) -> Iterator[FilePlace]:
    """Within this block, let :func:`new_examples` make the file ``path``. The end removes it if it is still there."""
    place = FilePlace(path)
    before = _place.set(place)
    try:
        yield place
    finally:
        _place.reset(before)
        path.unlink(missing_ok=True)
        place.release()
        _lock_of(path).unlink(missing_ok=True)


def new_examples(shape: Sequence[int], classes: Mapping[str, int], dtype: str = "uint8") -> Array:
    """Return an array (B, ...) of zeros for examples that are being prepared: in memory, or in the file of a cache.

    Args:
        shape: The shape of all examples.
        classes: Class -> its number of examples.
        dtype: ``uint8`` or ``float32``.

    Raises:
        DataError: The examples fit neither into memory nor on the disk.
    """
    place, n_bytes = _place.get(), math.prod(shape) * np.dtype(dtype).itemsize
    if place is None or place.file is not None or not stays_on_disk(n_bytes):
        return np.zeros(shape, dtype)
    try:
        place.release = acquire(_lock_of(place.path), wait=True)
        _remove_old(place.path)
        place.file = ExampleFile(place.path, shape, dtype, 4 * len(json.dumps(dict(classes))))
    except OSError as error:
        place.path.unlink(missing_ok=True)
        place.release()
        available = available_memory()
        if available is None or n_bytes < available:
            return np.zeros(shape, dtype)
        raise DataError(
            f"{place.path.parent}: the prepared examples take {n_bytes / 1e9:.1f} GB, and cannot be kept there: "
            f"{error.strerror or error}. Make room, or set XDG_CACHE_HOME or paths.data to a larger disk."
        ) from error
    return place.file.array


def _lock_of(path: Path) -> Path:
    """The file that a process locks while it prepares examples in ``path``."""
    return path.with_name(f"{path.name}.lock")


def _remove_old(path: Path) -> None:
    """Remove the files of preparations that were killed, and were not written to within a day."""
    name = path.name[: -len("".join(path.suffixes[-3:]))]
    for file in path.parent.glob(f"{glob.escape(name)}.*.tmp"):
        with contextlib.suppress(OSError):
            if file == path:
                file.unlink()
            elif is_left_behind(file, _DAY, [_lock_of(file)]):
                file.unlink()
                _lock_of(file).unlink(missing_ok=True)


def map_examples(path: Path) -> tuple[Tensor, dict[str, str]]:
    """Map the examples of a cache into memory, without reading them. They must not be written to.

    Args:
        path: A safetensors file with one tensor ``examples``.

    Returns:
        The examples (B, ...), and the metadata of the file.

    Raises:
        SafetensorError, OSError, ValueError, KeyError: The file is not one that :class:`ExampleFile` wrote.
    """
    with safe_open(path, framework="np") as opened:  # checks the header against the size of the file
        metadata = opened.metadata() or {}
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if length > _MOST_HEADER:
            raise SafetensorError(f"a header of {length} bytes")
        entry = json.loads(file.read(length))["examples"]
    dtype = _TYPES[entry["dtype"]]
    begin, end = entry["data_offsets"]
    content = np.memmap(path, np.uint8, "r", _LENGTH_BYTES + length + begin, (end - begin,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that nobody may write to it
        examples = torch.from_numpy(content).view(dtype).view(entry["shape"])
    if _MADVISE is not None and examples.nbytes >= _PAGE * len(examples) > 0:  # read no more than is asked for
        begin = examples.data_ptr() & -_PAGE
        _MADVISE(begin, examples.data_ptr() + examples.nbytes - begin, _MADV_RANDOM)
    return examples, metadata


def read_ahead(examples: Tensor, rows: Sequence[int]) -> None:
    """Ask the system to read rows that will be used at once, so that the disk works on all of them together.

    Args:
        examples: (B, ...) on the CPU, mapped or not.
        rows: Which rows.
    """
    size = examples.nbytes // len(examples)
    if _MADVISE is None or size < _PAGE:
        return  # what the system reads of itself around a small example is enough
    first = examples.data_ptr()
    for row in rows:
        start = first + row * size
        begin = start & -_PAGE
        _MADVISE(begin, start + size - begin, _MADV_WILLNEED)


def _madvise() -> Any:
    """The call of the C library; None elsewhere than on Linux. It is only advice, so its result does not matter."""
    if sys.platform != "linux":
        return None
    try:
        call = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return None
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return call


_MADVISE: Final = _madvise()
