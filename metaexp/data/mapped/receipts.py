"""What the user's cache folder keeps about prepared data: of what a cache was made, and which files were checked.

Only the user can write this folder, so it is trusted where a cache beside the data is not.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from torch import Tensor

from metaexp.core.disk.files import read_regular, write_atomically
from metaexp.core.disk.user_cache import user_cache
from metaexp.core.errors import MetaexpError
from metaexp.data.base import Progress

LARGE: Final = 1 << 27
"""Bytes of a file of which it is worth keeping what was computed: hashing them takes a tenth of a second and more."""
_SETTLED: Final = 2.0
"""Seconds after which a change of a file gets another time; some file systems count whole seconds, FAT counts two."""
_MOST_RECEIPT: Final = 10_000
_MOST_RESULT: Final = 10**10


def receipt_of(examples: Tensor, classes: Mapping[str, int], digest: str, checksum: str) -> str:
    """Return the receipt of prepared data.

    Args:
        examples: (B, ...), ordered by class.
        classes: Class -> its number of examples.
        digest: That of the raw data.
        checksum: That of the examples.
    """
    table = hashlib.sha256(json.dumps(list(classes.items())).encode()).hexdigest()
    return f"{digest} {checksum} {table} {examples.dtype} {list(examples.shape)}\n"


def kept_receipt(identity: str) -> str | None:
    """Return the receipt that was kept of data; None if there is none.

    Args:
        identity: What the data were prepared from, and how.
    """
    try:
        return read_regular(_file(identity, "txt"), _MOST_RECEIPT).decode()
    except (OSError, ValueError, MetaexpError):
        return None


def keep_receipt(identity: str, receipt: str, progress: Progress) -> None:
    """Keep a receipt; without it, the cache will not be trusted.

    Args:
        identity: What the data were prepared from, and how.
        receipt: The receipt.
        progress: Receives a warning where it cannot be kept.
    """
    file = _file(identity, "txt")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, receipt.encode())
    except OSError as error:
        progress(
            f"Warning: {file.parent} cannot be written ({error.strerror}), so these data are prepared again each time. "
            "Set XDG_CACHE_HOME to a folder that can be."
        )


def version_of(path: Path, receipt: str) -> str:
    """Return a name (hex) for a file in its present state, with what it must hold.

    A file that is written to later gets another time of change, which nobody but an administrator can set back.

    Args:
        path: The file of a cache.
        receipt: The receipt of its data.
    """
    found = path.stat()
    state = (str(path), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, receipt)
    return hashlib.sha256(repr(state).encode("utf-8", "surrogateescape")).hexdigest()


def version_if_large(path: Path, receipt: str) -> str | None:
    """Return the version of a large file whose examples are read into memory, as :func:`version_of` does.

    Args:
        path: The file.
        receipt: What it holds, or how it is read.

    Returns:
        None for a small file, of which all is quickly computed again, and for one that has just been changed: it could
        be changed once more before the clock of the file system goes on.
    """
    found = path.stat()
    is_settled = time.time() - found.st_ctime > _SETTLED
    return version_of(path, receipt) if found.st_size >= LARGE and is_settled else None


def compute_once(version: str | None, what: str, compute: Callable[[], bytes]) -> bytes:
    """Return what ``compute`` does from all examples of a file, from the user's cache folder if it was computed before.

    Args:
        version: The file in its present state, by :func:`version_of`; None to compute and keep nothing.
        what: The name of the result.
        compute: Reads the examples.
    """
    if version is None:
        return compute()
    file = _file(version, what)
    try:
        content = read_regular(file, _MOST_RESULT)
        if hashlib.sha256(content[32:]).digest() == content[:32]:
            return content[32:]
    except (OSError, MetaexpError):
        pass
    result = compute()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, hashlib.sha256(result).digest() + result)
    except OSError:
        pass  # it is computed again
    return result


def _file(name: str, ending: str) -> Path:
    return user_cache() / "receipts" / f"{hashlib.sha256(name.encode()).hexdigest()}.{ending}"
