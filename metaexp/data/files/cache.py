"""Prepared examples kept on disk, so that the second load takes a fraction of a second.

A cache is one safetensors file: the examples as one tensor, and as text the class table, the digest of the
raw data, the key it was prepared under and a checksum. It is written to a temporary name and renamed; one
that is damaged, or was written under another key, is built again.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import platformdirs
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from metaexp.core.files import sync_folder
from metaexp.data.base import Progress

_VERSION: Final = 1


class Prepared(NamedTuple):
    """Examples (B, ...) uint8 or float32 ordered by class; the number of each class by name, in that order; and
    the SHA-256 (hex) over the raw data they were made from."""

    examples: Tensor
    classes: dict[str, int]
    digest: str


def cached(
    name: str, key: Mapping[str, Any], folder: Path, build: Callable[[], Prepared], progress: Progress
) -> Prepared:
    """What ``build`` returns, from the cache when an intact one was written under the same ``key``.

    name: begins the file name. key: JSON values that decide what is built. folder: ``paths.data``.
    Where nothing can be written the result is not kept, and ``progress`` says so.
    """
    identity = json.dumps({"name": name, "version": _VERSION, **key}, sort_keys=True)
    place = cache_folder(folder)
    if place is None:
        progress(f"Neither {folder} nor the user's cache folder can be written: {name} is prepared anew each time.")
        return build()
    path = place / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}.safetensors"
    if path.exists():
        prepared = _read(path, identity)
        if prepared is not None:
            return prepared
        progress(f"The cache {path} is damaged; building it again.")
    prepared = build()
    try:
        _write(path, prepared, identity)
        progress(f"Kept the prepared {name} in {path}.")
    except OSError as error:
        progress(f"Could not keep the prepared {name} in {path}: {error}.")
    return prepared


def cache_folder(folder: Path) -> Path | None:
    """Where prepared data is kept: ``cache`` in ``folder`` if that is there and can be written, else ``metaexp`` in
    the user's cache folder (XDG_CACHE_HOME, default ~/.cache), else None."""
    if can_write(folder):
        return _made(folder / "cache")
    return _made(user_cache())


def user_cache() -> Path:
    """Return the folder ``metaexp`` in the user's cache folder; it need not be there.

    That is XDG_CACHE_HOME where it is set, else what the system has for it, ~/.cache on Linux.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base) / "metaexp" if base else platformdirs.user_cache_path("metaexp", appauthor=False)


def can_write(folder: Path) -> bool:
    """Whether ``folder`` is there and may be written. A folder without any write permission is left alone, also
    by a user whom permissions do not stop."""
    try:
        return folder.is_dir() and bool(folder.stat().st_mode & 0o222) and os.access(folder, os.W_OK)
    except OSError:
        return False


def _made(folder: Path) -> Path | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if can_write(folder) else None


def _write(path: Path, prepared: Prepared, identity: str) -> None:
    examples = prepared.examples.contiguous()
    metadata = {
        "identity": identity,
        "classes": json.dumps(prepared.classes),
        "digest": prepared.digest,
        "sha256": _checksum(examples),
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        save_file({"examples": examples}, temporary, metadata=metadata)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _read(path: Path, identity: str) -> Prepared | None:
    """The contents of a cache; None when it is damaged or was written under another key."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("identity") != identity:
                return None
            examples = file.get_tensor("examples")
        if _checksum(examples) != metadata["sha256"]:
            return None
        return Prepared(examples, json.loads(metadata["classes"]), metadata["digest"])
    except (SafetensorError, OSError, KeyError, ValueError):
        return None


def _checksum(examples: Tensor) -> str:
    return hashlib.sha256(examples.contiguous().view(-1).view(torch.uint8).numpy().data).hexdigest()
