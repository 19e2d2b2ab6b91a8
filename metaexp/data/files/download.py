"""Downloads one file, completely or not at all. Importing this module does not import torch."""

from __future__ import annotations

import hashlib
import os
import threading
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import IO, Final, NamedTuple

from metaexp.core.errors import DataError
from metaexp.core.files import sync_folder
from metaexp.data.base import Progress

_CHUNK: Final = 1 << 18
_TIMEOUT_S: Final = 30.0


class Remote(NamedTuple):
    """A published file.

    Attributes:
        url: Its address.
        md5: Its MD5 as published, hex.
        most: An upper bound of its size, in bytes.
    """

    url: str
    md5: str
    most: int


class UnreachableError(DataError):
    """The network or the server did not deliver."""


def download(remote: Remote, target: Path, progress: Progress) -> None:
    """Fetch a published file: to a temporary name beside the target, checked, then renamed.

    Args:
        remote: The file.
        target: Where it goes; its folder is made.
        progress: Receives a line at every tenth.

    Raises:
        UnreachableError: It cannot be fetched.
        DataError: What came is not the published file, or it cannot be written.
    """
    if not remote.url.startswith(("https://", "http://")):
        raise DataError(f"{remote.url}: only http and https addresses are fetched.")
    try:
        _download(remote, target, progress)
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror or error}.") from error


def _download(remote: Remote, target: Path, progress: Progress) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        try:
            with urllib.request.urlopen(remote.url, timeout=_TIMEOUT_S) as response, temporary.open("wb") as file:
                length = response.headers.get("Content-Length")
                md5 = _copy(response, file, remote, int(length) if length else None, progress)
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise UnreachableError(f"{remote.url} could not be fetched: {reason}.") from error
        if md5 != remote.md5:
            raise DataError(f"{remote.url} sent a file with MD5 {md5}; the published file has {remote.md5}.")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(target.parent)


def _copy(source: IO[bytes], file: IO[bytes], remote: Remote, length: int | None, progress: Progress) -> str:
    """Copy to ``file``, with a line at every tenth of ``length`` bytes; returns the MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    done, told = 0, 0
    name = remote.url.rsplit("/", 1)[-1]
    progress(f"Fetching {remote.url}" + (f" ({length / 1e6:.1f} MB)." if length else "."))
    while chunk := source.read(_CHUNK):
        done += len(chunk)
        if done > remote.most:
            raise DataError(f"{remote.url} sends more than {remote.most} bytes; the published file is smaller.")
        digest.update(chunk)
        file.write(chunk)
        tenths = 10 * done // length if length else 0
        if tenths > told:
            told = tenths
            progress(f"  {name}: {10 * tenths} %")
    if length is not None and done != length:
        raise UnreachableError(f"{remote.url} broke off after {done} of {length} bytes.")
    file.flush()
    os.fsync(file.fileno())
    return digest.hexdigest()
