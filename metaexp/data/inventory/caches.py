"""The prepared files in the cache, looked at without torch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from metaexp.core.errors import DataError

_LENGTH: Final = 8
"""Bytes at the beginning of a safetensors file that say how long its header is."""
_MOST_HEADER: Final = 100_000_000
_CHUNK: Final = 1 << 22


def cache_files(place: Path | None, prefix: str) -> list[Path]:
    """Return the prepared files of a dataset, sorted.

    Args:
        place: The folder of the cache; None where there is none.
        prefix: How their names begin; empty for a dataset that keeps none.
    """
    if place is None or not prefix:
        return []
    return sorted(path for path in place.glob(f"{prefix}-*.safetensors") if path.is_file())


def check_cache(path: Path) -> str:
    """Read a prepared file and compare its examples with the SHA-256 that was written with them.

    Returns:
        The SHA-256 (hex).

    Raises:
        DataError: The file is damaged.
    """
    advice = "It is damaged; remove it, and the next load prepares it again."
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH), "little")
            if not 0 < length <= _MOST_HEADER:
                raise DataError(f"{path} does not begin as a prepared file does. {advice}")
            written, (begin, end) = _read_header(json.loads(file.read(length)))
            size = path.stat().st_size
            if _LENGTH + length + end != size:
                raise DataError(f"{path} has {size} bytes, and should have {_LENGTH + length + end}. {advice}")
            file.seek(_LENGTH + length + begin)
            digest = hashlib.sha256()
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} has no header of a prepared file. {advice}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if digest.hexdigest() != written:
        raise DataError(f"{path}: the SHA-256 of its examples is {digest.hexdigest()}, and was {written}. {advice}")
    return digest.hexdigest()


def _read_header(header: Any) -> tuple[str, tuple[int, int]]:
    """The SHA-256 of the examples, and where they begin and end behind the header."""
    begin, end = header["examples"]["data_offsets"]
    return str(header["__metadata__"]["sha256"]), (int(begin), int(end))
