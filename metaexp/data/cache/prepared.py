"""Prepared examples kept on disk, so that the second load takes a fraction of a second.

A cache is one safetensors file: the examples as one tensor, and as text the class table, the digest of the
raw data, the key it was prepared under and a checksum. It is written to a temporary name and renamed; one
that is damaged, or was written under another key, is built again.

Whoever can write the file can repair its checksum, so that is not what a cache is trusted for. Where the digest of the
raw data can be computed from the examples, or their checksum is known, these decide. Elsewhere the user's cache folder
keeps a receipt of what was prepared, and a file without a receipt, or one that differs from it, is built again.

Examples that are to stay on disk are mapped from the file of the cache. They are written there while they are prepared.
The checksum of a mapped or large file that has not changed since it was checked is not computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from metaexp.core.disk.files import sync_folder
from metaexp.core.disk.user_cache import user_cache
from metaexp.data.cache.memory import HeldContents
from metaexp.data.cache.place import cache_folder
from metaexp.data.files.progress import Progress
from metaexp.data.mapped.example_file import ExampleFile, map_examples, offer_file
from metaexp.data.mapped.placement import stays_on_disk
from metaexp.data.mapped.receipts import keep_receipt, kept_receipt, receipt_of, version_if_large, version_of

_VERSION: Final = 1
_CHECKED: Final = "checked\n"

DigestOf = Callable[[Tensor, Mapping[str, int]], str]
"""Examples (B, ...) and class -> number of its examples to the digest of the raw data."""


class Prepared(NamedTuple):
    """Examples that are ready for a dataset.

    Attributes:
        examples: (B, ...) uint8 or float32, ordered by class.
        classes: Class -> its number of examples, in that order.
        digest: The SHA-256 (hex) over the raw data that they were made from.
        version: Names the file that the examples are mapped from, or a large one that they were read from, in its
            present state. None where all that depends on them is computed each time.
    """

    examples: Tensor
    classes: dict[str, int]
    digest: str
    version: str | None = None


HELD: Final = HeldContents[Prepared]()
"""The contents that this process keeps. Empty, except in a warm parent of a sweep and in the jobs that it forks."""


def cached(
    name: str,
    key: Mapping[str, Any],
    folder: Path,
    build: Callable[[], Prepared],
    progress: Progress,
    checksum: str | None = None,
    digest_of: DigestOf | None = None,
    shape: Sequence[int] | None = None,
) -> Prepared:
    """Return what ``build`` does, from the cache when an intact one was written under the same ``key``.

    Args:
        name: How the name of the file begins.
        key: JSON values that decide what is built.
        folder: ``paths.data``.
        build: Prepares the data, in seconds or minutes.
        progress: Receives a line about what is built and kept, and a warning where it cannot be kept.
        checksum: The SHA-256 (hex) of the examples, where it is known; a cache with others is built again, even if its
            own checksum fits them.
        digest_of: Computes the digest of the raw data from examples and classes, where they have all that it covers; a
            cache with another digest is built again.
        shape: That of one example, which is then uint8; a cache with others is built again.
    """
    identity = json.dumps({"name": name, "version": _VERSION, **key}, sort_keys=True)
    place = cache_folder(folder)
    if place is None:
        HELD.end_filling()
        progress(f"Warning: {name} is prepared again each time: {_format_no_folder(folder)}.")
        return build()
    path = place / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}.safetensors"
    needs_receipt = checksum is None and digest_of is None
    if path.is_file() and needs_receipt and kept_receipt(identity) is None:
        progress(f"The cache {path} was not prepared by this user, so {name} is prepared once more.")
    elif path.is_file():
        wanted = (identity, checksum, digest_of is None, None if shape is None else tuple(shape))
        prepared = HELD.offer(path, wanted, lambda: _read(path, identity, checksum, digest_of, shape))
        if prepared is not None:
            return prepared
        progress(f"The cache {path} is damaged; building it again.")
    HELD.end_filling()
    with offer_file(_temporary(path)) as preparing:
        prepared = build()
        if needs_receipt:
            keep_receipt(identity, receipt_of(*prepared[:3], checksum_of(prepared.examples)), progress)
        try:
            _write(path, prepared, identity, preparing.file)
            progress(f"Kept the prepared {name} in {path}.")
        except (OSError, SafetensorError) as error:
            progress(f"Warning: the prepared {name} could not be kept in {path}: {error}.")
            return prepared
    if stays_on_disk(prepared.examples.nbytes):
        return _read(path, identity, checksum, digest_of, shape) or prepared
    return prepared


def _format_no_folder(folder: Path) -> str:
    """Why :func:`cache_folder` found no folder, and what to do."""
    home = user_cache()
    reasons = [f"{folder}: {_obstacle(folder)}", f"{home}: {_obstacle(home, is_made=True)}"]
    return f"no folder for it can be written ({'; '.join(reasons)}). Set XDG_CACHE_HOME to a folder that can be"


def _obstacle(folder: Path, is_made: bool = False) -> str:
    """Why no file can be written to a folder; what the system says, if it says anything.

    Args:
        folder: The folder.
        is_made: Whether it is made where it is missing. Then the nearest folder above it that is there decides.
    """
    try:
        if not folder.is_dir():
            folder.stat()
            return "it is not a folder"
        file = folder / f".{os.getpid()}.tmp"
        file.touch(exist_ok=False)
        file.unlink()
    except FileNotFoundError:
        return _obstacle(folder.parent, is_made) if is_made else "there is no such folder"
    except OSError as error:
        return error.strerror or str(error)
    return "it is write-protected"


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")


def _write(path: Path, prepared: Prepared, identity: str, file: ExampleFile | None) -> None:
    """Write a cache; of examples that are in ``file`` already, only the header."""
    examples = prepared.examples.contiguous()
    metadata = {
        "identity": identity,
        "classes": json.dumps(prepared.classes),
        "digest": prepared.digest,
        "sha256": checksum_of(examples),
    }
    temporary = _temporary(path)
    try:
        if file is not None and file.holds(examples):
            file.finish(metadata)
        else:
            temporary.unlink(missing_ok=True)
            save_file({"examples": examples}, temporary, metadata=metadata)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _read(
    path: Path, identity: str, checksum: str | None, digest_of: DigestOf | None, shape: Sequence[int] | None
) -> Prepared | None:
    """The contents of a cache; None when it is damaged, was written under another key or was changed."""
    try:
        is_mapped = stays_on_disk(path.stat().st_size)
        examples, metadata = map_examples(path) if is_mapped else _load(path)
        if metadata.get("identity") != identity:
            return None
        classes = json.loads(metadata["classes"])
        if not isinstance(classes, dict) or not all(type(size) is int and size > 0 for size in classes.values()):
            return None
        if sum(classes.values()) != len(examples):
            return None
        prepared = Prepared(examples, classes, metadata["digest"])
        receipt = receipt_of(examples, classes, metadata["digest"], metadata["sha256"])
        version = version_of(path, receipt) if is_mapped else version_if_large(path, receipt)
        if version is not None and receipt == kept_receipt(identity) and kept_receipt(version) == _CHECKED:
            return prepared._replace(version=version) if _fits(examples, shape) else None
        if not _is_authentic(prepared, identity, metadata["sha256"], checksum, digest_of, shape):
            return None
        if version is not None and checksum is None and digest_of is None:
            keep_receipt(version, _CHECKED, lambda _: None)
        return prepared._replace(version=version)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError):
        return None


def _load(path: Path) -> tuple[Tensor, dict[str, str]]:
    """The examples and the metadata of a cache."""
    with safe_open(path, framework="pt") as file:
        return file.get_tensor("examples"), file.metadata() or {}


def _fits(examples: Tensor, shape: Sequence[int] | None) -> bool:
    return shape is None or (tuple(examples.shape[1:]) == tuple(shape) and examples.dtype == torch.uint8)


def _is_authentic(
    prepared: Prepared,
    identity: str,
    written: str,
    checksum: str | None,
    digest_of: DigestOf | None,
    shape: Sequence[int] | None,
) -> bool:
    """Whether the examples are those of the digest that they come with; ``written`` is the checksum in the cache."""
    examples, classes, digest, _ = prepared
    if not _fits(examples, shape):
        return False
    if digest_of is not None:
        return digest_of(examples, classes) == digest
    found = checksum_of(examples)
    if checksum is not None or found != written:
        return found == checksum
    return kept_receipt(identity) == receipt_of(examples, classes, digest, found)


def checksum_of(examples: Tensor) -> str:
    """Return the SHA-256 (hex) of the bytes of examples on the CPU."""
    return hashlib.sha256(examples.contiguous().view(-1).view(torch.uint8).numpy().data).hexdigest()
