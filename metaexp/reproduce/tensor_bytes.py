"""Compare two files of weights tensor by tensor, by their bytes. Without torch."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from metaexp.core.disk.files import open_tensors
from metaexp.core.errors import RunFolderError

_LENGTH = 8
"""Bytes at the beginning of a safetensors file that say how long its header is."""
_MOST_HEADER_BYTES = 100_000_000
"""The longest header that safetensors allows."""


def left_out(before: Path, now: Path) -> list[str] | None:
    """Return the names of tensors that only the first file has, if all the others are the same in both.

    Args:
        before: A safetensors file.
        now: Another one.

    Returns:
        The names, in order. None if a tensor differs, if only the second file has it, if the two have none in common,
        or if a file is damaged.

    Raises:
        OSError: One of them cannot be opened.
    """
    ours, theirs = _digests(before), _digests(now)
    if not ours or not theirs or any(ours.get(name) != digest for name, digest in theirs.items()):
        return None
    return sorted(set(ours) - set(theirs))


def _digests(path: Path) -> dict[str, tuple[Any, ...]] | None:
    """The type, the shape and the SHA-256 of each tensor; None if the file is damaged."""
    try:
        with open_tensors(path) as file:
            size = os.fstat(file.fileno()).st_size
            start = _LENGTH + int.from_bytes(file.read(_LENGTH), "little")
            if start > min(size, _MOST_HEADER_BYTES):
                return None
            header = json.loads(file.read(start - _LENGTH))
            header.pop("__metadata__", None)
            found = {}
            for name, entry in header.items():
                begin, end = map(int, entry["data_offsets"])
                if not 0 <= begin <= end <= size - start:
                    return None
                file.seek(start + begin)
                digest = hashlib.sha256(file.read(end - begin)).hexdigest()
                found[name] = (entry["dtype"], tuple(entry["shape"]), digest)
    except (RunFolderError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return found
