"""Downloads one file, checked by its digest. Importing this module does not import torch."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from metaexp.core.disk.files import sync_folder
from metaexp.core.disk.locks import LockedError, acquire
from metaexp.core.errors import DataError
from metaexp.data.files.progress import Progress

_CHUNK: Final = 1 << 18
_TIMEOUT_S: Final = 30.0
_PARTIAL: Final = 206
_NOTHING_LEFT: Final = 416
_LOOK: Final = 512


class Remote(NamedTuple):
    """A published file.

    Attributes:
        url: Its address.
        md5: Its MD5 as published, hex; not looked at where there is a better digest.
        most: An upper bound of its size, in bytes.
        sha512: Its SHA-512 as published, hex.
        sha256: Its SHA-256 as published, hex; not looked at where there is a SHA-512.
        mirrors: Further addresses of the same file. They are asked in this order when those before do not deliver.
    """

    url: str
    md5: str
    most: int
    sha512: str = ""
    sha256: str = ""
    mirrors: tuple[str, ...] = ()

    def digest(self) -> tuple[str, str]:
        """Return the name of the best published digest, such as ``SHA-512``, and the digest in hex."""
        known = {"SHA-512": self.sha512, "SHA-256": self.sha256, "MD5": self.md5}
        return next((name, value) for name, value in known.items() if value)


class UnreachableError(DataError):
    """The network or the server did not deliver."""


def download(remote: Remote, target: Path, progress: Progress) -> None:
    """Fetch a published file: to a temporary name beside the target, checked, then renamed.

    One process fetches it at a time; others wait, and find it there. What has arrived is kept when the network fails,
    and the next try continues from there.

    Args:
        remote: The file.
        target: Where it goes; its folder is made.
        progress: Receives a line before connecting, and at every tenth.

    Raises:
        UnreachableError: The file cannot be downloaded from any of its addresses.
        DataError: The download is not the published file, or it cannot be written.
    """
    for url in (remote.url, *remote.mirrors):
        if not url.startswith(("https://", "http://")):
            raise DataError(f"{url}: only http and https addresses are fetched.")
    try:
        _download(remote, target, progress)
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror or error}.") from error


def file_digest(path: Path, name: str) -> str:
    """Return a digest (hex) of the bytes of a file.

    Args:
        path: The file.
        name: ``SHA-512``, ``SHA-256`` or ``MD5``.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(name.replace("-", ""), usedforsecurity=False)).hexdigest()


def _download(remote: Remote, target: Path, progress: Progress) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = target.with_name(f".{target.name}.lock")
    try:
        release = acquire(lock)
    except LockedError as error:
        progress(f"Waiting for another process that is fetching {target.name} ({error.holder}).")
        release = acquire(lock, wait=True)
    try:
        if not target.exists():
            _fetch_from_any(remote, target.with_name(f".{target.name}.part"), target, progress)
    finally:
        release()


def _fetch_from_any(remote: Remote, temporary: Path, target: Path, progress: Progress) -> None:
    """Ask the addresses in turn, until one delivers the published file."""
    reasons: list[DataError] = []
    for url in (remote.url, *remote.mirrors):
        try:
            _fetch(remote._replace(url=url), temporary, target, progress)
            return
        except DataError as error:
            reasons.append(error)
            if len(reasons) <= len(remote.mirrors):
                progress(f"{error} Asking another address.")
    if len(reasons) == 1:
        raise reasons[0]
    unreachable = all(isinstance(error, UnreachableError) for error in reasons)
    raise (UnreachableError if unreachable else DataError)(" ".join(map(str, reasons)))


def _fetch(remote: Remote, temporary: Path, target: Path, progress: Progress) -> None:
    """Fetch to ``temporary``, after what is there already, check the whole and rename it."""
    import urllib.error  # takes 20 ms with urllib.request, and datasets are made when a command is checked, too
    import urllib.request
    from http.client import HTTPException

    begun = temporary.stat().st_size if temporary.exists() else 0
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={begun}-"} if begun else {})
    progress(f"Connecting to {urlsplit(remote.url).hostname}.")  # without an answer this waits for half a minute
    try:
        try:
            response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            if not (begun and error.code == _NOTHING_LEFT):
                raise
            error.close()
        else:
            with response:
                _refuse_page(response, remote)
                _copy(response, temporary, remote, begun if response.status == _PARTIAL else 0, progress)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise UnreachableError(f"{remote.url} could not be fetched: {reason}.{_format_kept(temporary)}") from error
    name, expected = remote.digest()
    found = file_digest(temporary, name)
    if found != expected:
        is_page = _is_page(temporary)
        temporary.unlink()
        if is_page:
            raise UnreachableError(_format_page_instead(remote))
        raise DataError(f"{remote.url} sent a file with {name} {found}; the published file has {expected}.")
    temporary.replace(target)
    sync_folder(target.parent)


def _refuse_page(response: Any, remote: Remote) -> None:
    """Refuse a web page in place of the file, such as the login page of a network."""
    if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise UnreachableError(_format_page_instead(remote))


def _is_page(file: Path) -> bool:
    """Whether the content of a file begins like a web page."""
    with file.open("rb") as opened:
        start = opened.read(_LOOK).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html"))


def _format_page_instead(remote: Remote) -> str:
    return (
        f"{remote.url} sent a web page in place of the file, as networks with a login page and proxies do. Open "
        "the address in a browser, or fetch the file on another machine."
    )


def _format_kept(temporary: Path) -> str:
    """What a message says about the part that has arrived; nothing if none is kept."""
    size = temporary.stat().st_size if temporary.exists() else 0
    return f" The first {size / 1e6:.1f} MB are kept; the same command goes on from there." if size else ""


def _copy(source: Any, temporary: Path, remote: Remote, begun: int, progress: Progress) -> None:
    """Write behind the first ``begun`` bytes of ``temporary``, with a line at every tenth of the whole."""
    announced = source.headers.get("Content-Length")
    length = begun + int(announced) if announced else None
    done = begun
    shown = 10 * done // length if length else 0
    name = _file_name(remote.url)
    progress(
        f"Fetching {remote.url}"
        + (f" ({length / 1e6:.1f} MB" if length else "")
        + (f", {begun / 1e6:.1f} MB of it are here" if length and begun else "")
        + (")." if length else ".")
    )
    with temporary.open("r+b" if begun else "wb") as file:
        file.seek(begun)
        while chunk := source.read(_CHUNK):
            done += len(chunk)
            if done > remote.most:
                temporary.unlink()
                raise DataError(f"{remote.url} sends more than {remote.most} bytes; the published file is smaller.")
            file.write(chunk)
            tenths = 10 * done // length if length else 0
            if tenths > shown:
                shown = tenths
                progress(f"  {name}: {10 * tenths} %")
        file.flush()
        os.fsync(file.fileno())
    if length is not None and done != length:
        raise UnreachableError(f"{remote.url} broke off after {done} of {length} bytes.{_format_kept(temporary)}")


def _file_name(url: str) -> str:
    """Return the last part of an address, as lines of progress name the file."""
    return url.rsplit("/", 1)[-1]
