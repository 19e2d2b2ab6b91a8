"""Opens a tar, compressed or not, so that a small file cannot keep the reader busy or fill the memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final, cast

from metaexp.core.errors import DataError

_OPENERS: Final[Mapping[bytes, Callable[[Path], Any]]] = {
    b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open, b"\x5d\0\0": lzma.open,
}  # fmt: skip
"""The first bytes of a compressed file -> what opens it."""
_LEAST_LIMIT: Final = 1 << 30
_MOST_RATIO: Final = 100
"""A compressed tar of images is rarely 10 times as large when it is unpacked. A bomb is 1,000 to 1,000,000 times."""
_MOST_HEADER: Final = 1 << 24
"""Bytes of a header that is read at once: names may be long, but not this long."""


class BoundedStream:
    """A stream of bytes that ends with a DataError beyond a limit.

    Args:
        path: The file, for messages.

    Attributes:
        lists: Whether only the headers are read now, so that a large piece is refused.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lists = True
        with path.open("rb") as file:
            begin = file.read(6)
        opener = next((opener for magic, opener in _OPENERS.items() if begin.startswith(magic)), None)
        self._file: IO[bytes] = path.open("rb") if opener is None else opener(path)
        self._limit = None if opener is None else _LEAST_LIMIT + _MOST_RATIO * path.stat().st_size

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes."""
        if self.lists and size > _MOST_HEADER:
            raise DataError(
                f"{self.path} has a header of {size:,} bytes, so it is not an archive of images. Pack it again."
            )
        self._check(self._file.tell() + size)
        return self._file.read(size)

    def seek(self, position: int) -> int:
        """Go to a position."""
        self._check(position)
        return self._file.seek(position)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _check(self, position: int) -> None:
        if self._limit is not None and position > self._limit:
            raise DataError(
                f"{self.path} unpacks to more than {self._limit / 1e9:.1f} GB, over {_MOST_RATIO} times its size, so "
                "it is not an archive of images. If you trust it, unpack it and give the folder."
            )


def open_tar(path: Path) -> tuple[tarfile.TarFile, BoundedStream]:
    """Open a tar.

    Args:
        path: The file.

    Returns:
        The tar, and the stream that it reads, to be closed after it.

    Raises:
        tarfile.ReadError: The file is not a tar.
        DataError: Its first header is too large.
    """
    stream = BoundedStream(path)
    try:
        return tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:"), stream
    except BaseException:
        stream.close()
        raise
