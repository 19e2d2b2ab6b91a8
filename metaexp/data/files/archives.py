"""Read the files of a zip, a tar or a folder in place.

Nothing is ever extracted, so no name inside an archive can reach the file system, and every file is bounded before it
is held in memory. Importing this module does not import torch.
"""

from __future__ import annotations

import re
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Generic, TypeVar

from metaexp.core.errors import DataError
from metaexp.data.files.bounded_tar import open_tar
from metaexp.data.files.folder_scan import refuse_special, scan_folder

Member = TypeVar("Member", zipfile.ZipInfo, tarfile.TarInfo)

_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, RuntimeError, ValueError)
"""What reading a damaged or an encrypted archive raises."""
_QUICK = 8_000_000
"""Bytes of a compressed tar that are read in a moment."""


class Source(ABC):
    """Named files in one place; a context manager.

    Attributes:
        path: The folder or archive.
        ignored: Kind of entry that is not among the names, in the singular, such as ``link in the archive`` -> how
            many there are.
    """

    def __init__(self, path: Path) -> None:
        """Take the place; subclasses open it."""
        self.path = path
        self.ignored: dict[str, int] = {}

    @abstractmethod
    def names(self) -> list[str]:
        """List the paths of all files inside, relative and with forward slashes."""

    @abstractmethod
    def items(self, names: Collection[str], most: int) -> Iterator[tuple[str, bytes]]:
        """Yield every file of ``names`` that is there, with its bytes, in the order of storage.

        Args:
            names: Paths inside, as :meth:`names` gives them.
            most: The largest size that is accepted, in bytes.

        Raises:
            DataError: A file is damaged, larger than ``most``, or there twice.
        """

    def check_once(self, names: Collection[str]) -> None:
        """Check that no file of ``names`` is there twice, which only archives allow.

        Raises:
            DataError: A file is there twice.
        """
        return

    def read(self, name: str, most: int) -> bytes:
        """Read one file of at most ``most`` bytes.

        Args:
            name: The file's path in the folder or archive.
            most: Bytes it may have.

        Raises:
            DataError: The file is missing, damaged or larger than ``most``.
        """
        for _, content in self.items({name}, most):
            return content
        raise DataError(f"{self.path} has no file {name}.")

    def close(self) -> None:
        """Close the archive."""
        return

    def __enter__(self) -> Source:
        """Return this source."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the archive."""
        self.close()

    def _bounded(self, file: IO[bytes], name: str, most: int) -> bytes:
        content = file.read(most + 1)
        if len(content) > most:
            raise DataError(f"{self.path}: {name} is larger than the {most} bytes expected at most.")
        return content

    def _damaged(self, reason: object) -> DataError:
        return DataError(f"{self.path} is damaged ({reason}); replace it with a whole one.")


def open_source(path: Path, follow_links: bool = True) -> Source:
    """Open a folder, a zip, or a tar, compressed or not.

    Args:
        path: The folder or archive.
        follow_links: In a folder, whether links to what is outside it are followed, as is right where the classes are
            then checked against a published list. Links in archives never are.

    Raises:
        DataError: The archive is damaged or has names that lead out of it; the folder cannot be read or has links that
            lead out of it; ``path`` is a FIFO or a device.
    """
    refuse_special(path)
    if path.is_dir():
        return _Folder(path, follow_links)
    return _Zip(path) if zipfile.is_zipfile(path) else _Tar(path)


def is_quick(path: Path) -> bool:
    """Whether listing a folder or archive takes no more than a moment; not so for a large compressed tar.

    Raises:
        DataError: ``path`` is a FIFO or a device.
    """
    refuse_special(path)
    is_large = path.is_file() and path.stat().st_size > _QUICK
    return not is_large or zipfile.is_zipfile(path) or _is_plain_tar(path)


def names_quickly(path: Path) -> list[str] | None:
    """List the files in a folder or archive as :func:`open_source` does, where that takes no more than a moment.

    Returns:
        The names; None for a large compressed tar, of which only reading all would tell.

    Raises:
        DataError: The source cannot be opened, for the reasons of :func:`open_source`.
    """
    if not is_quick(path):
        return None
    with open_source(path) as source:
        return source.names()


def _is_plain_tar(path: Path) -> bool:
    """Whether a file is a tar that is not compressed, whose names can be had without reading the rest."""
    try:
        with tarfile.open(path, "r:"):
            return True
    except _DAMAGE:
        return False


def first_existing(folders: Collection[Path], names: Collection[str]) -> Path | None:
    """Return the first of ``names`` that is there in the first of ``folders`` that has one.

    Args:
        folders: Where to look, in this order.
        names: Names of files or folders to look for, in this order.
    """
    return next((folder / name for folder in folders for name in names if (folder / name).exists()), None)


class _Folder(Source):
    def __init__(self, path: Path, follow_links: bool) -> None:
        super().__init__(path)
        self._files, self.ignored = scan_folder(path, follow_links)

    def names(self) -> list[str]:
        return list(self._files)

    def items(self, names: Collection[str], most: int) -> Iterator[tuple[str, bytes]]:
        for name in sorted(names):
            if name in self._files:
                try:
                    with self._files[name].open("rb") as opened:
                        content = self._bounded(opened, name, most)
                except OSError as error:
                    raise DataError(f"{self._files[name]} cannot be read: {error.strerror or error}.") from error
                yield name, content


class _Archive(Source, Generic[Member]):
    """What zips and tars share: names that stay inside, and no file twice."""

    _members: list[tuple[str, Member]]
    """Each file in the order of storage, with its name; as often as it is there."""

    @abstractmethod
    def _content(self, member: Member, name: str, most: int) -> bytes:
        """The bytes of a file. Raises DataError where there are more than ``most``, and errors of the library."""

    def names(self) -> list[str]:
        return list(dict.fromkeys(name for name, _ in self._members))

    def items(self, names: Collection[str], most: int) -> Iterator[tuple[str, bytes]]:
        wanted, seen = set(names), set[str]()
        for name, member in self._members:
            if name in wanted:
                self._once(name, seen)
                try:
                    content = self._content(member, name, most)
                except _DAMAGE as error:
                    raise self._damaged(error) from error
                yield name, content

    def _inside(self, name: str) -> str:
        """The path of a member, relative and without dots. Raises DataError for one that leads outside."""
        slashed = name.replace("\\", "/")
        parts = [part for part in slashed.split("/") if part not in ("", ".")]
        if slashed.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", slashed):
            raise DataError(
                f"{self.path} has a file named {name!r}, which leads out of the archive. Pack the folder again with "
                "relative names."
            )
        return "/".join(parts)

    def check_once(self, names: Collection[str]) -> None:
        wanted, seen = set(names), set[str]()
        for name, _ in self._members:
            if name in wanted:
                self._once(name, seen)

    def _once(self, name: str, seen: set[str]) -> None:
        if name in seen:
            raise DataError(f"{self.path} has the file {name} twice. Pack the folder again, with each file once.")
        seen.add(name)


class _Zip(_Archive[zipfile.ZipInfo]):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGE as error:
            raise self._damaged(error) from error
        self._members = [(self._inside(info.filename), info) for info in self._zip.infolist() if not info.is_dir()]

    def _content(self, member: zipfile.ZipInfo, name: str, most: int) -> bytes:
        with self._zip.open(member) as opened:
            return self._bounded(opened, name, most)

    def close(self) -> None:
        self._zip.close()


class _Tar(_Archive[tarfile.TarInfo]):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._tar, self._stream = open_tar(path)
        except tarfile.ReadError as error:
            raise DataError(
                f"{path} is damaged, or is not an archive: neither a zip nor a tar. Replace it, or give a folder."
            ) from error
        except _DAMAGE as error:
            raise self._damaged(error) from error
        try:
            members = [member for member in self._tar.getmembers() if not member.isdir()]
            self._stream.lists = False
        except _DAMAGE as error:
            raise self._damaged(error) from error
        self._members = [(self._inside(member.name), member) for member in members if member.isfile()]
        n_links = sum(m.issym() or m.islnk() for m in members)
        n_special = len(members) - len(self._members) - n_links
        others = {"link in the archive": n_links, "special file (FIFO or device) in the archive": n_special}
        self.ignored = {what: n for what, n in others.items() if n}

    def _content(self, member: tarfile.TarInfo, name: str, most: int) -> bytes:
        opened = self._tar.extractfile(member)
        return self._bounded(opened, name, most) if opened else b""

    def close(self) -> None:
        self._tar.close()
        self._stream.close()
