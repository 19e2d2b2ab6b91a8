"""Reading the files of a zip, a tar or a folder in place. Nothing is ever extracted, so no name inside an
archive can reach the file system, and every file is bounded before it is held in memory.

Importing this module does not import torch.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO

from metaexp.core.errors import DataError


class Source(ABC):
    """Named files in one place; a context manager. Paths inside have forward slashes and are relative."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def names(self) -> list[str]:
        """The paths of all files inside."""

    @abstractmethod
    def items(self, names: Collection[str], most: int) -> Iterator[tuple[str, bytes]]:
        """Every file of ``names`` that is there, with its bytes, in the order of storage.

        Raises DataError for a damaged file and for one of more than ``most`` bytes.
        """

    def read(self, name: str, most: int) -> bytes:
        """The bytes of one file. Raises DataError where it is not there."""
        for _, content in self.items({name}, most):
            return content
        raise DataError(f"{self.path} has no file {name}.")

    def close(self) -> None:
        """Let go of the archive."""
        return

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _bounded(self, file: IO[bytes], name: str, most: int) -> bytes:
        content = file.read(most + 1)
        if len(content) > most:
            raise DataError(f"{self.path}: {name} is larger than the {most} bytes expected at most.")
        return content

    def _damaged(self, reason: object) -> DataError:
        return DataError(f"{self.path} is damaged ({reason}); replace it with a whole one.")


def open_source(path: Path) -> Source:
    """The folder, zip or tar (also compressed) at ``path``. Raises DataError for a damaged archive."""
    if path.is_dir():
        return _Folder(path)
    return _Zip(path) if zipfile.is_zipfile(path) else _Tar(path)


def first_existing(folders: Collection[Path], names: Collection[str]) -> Path | None:
    """The first of ``names`` that is there in the first of ``folders`` that has one."""
    return next((folder / name for folder in folders for name in names if (folder / name).exists()), None)


class _Folder(Source):
    def names(self) -> list[str]:
        return sorted(f.relative_to(self.path).as_posix() for f in self.path.rglob("*") if f.is_file())

    def items(self, names: Collection[str], most: int) -> Iterator[tuple[str, bytes]]:
        for name in sorted(names):
            file = self.path / name
            if file.is_file():
                try:
                    with file.open("rb") as opened:
                        content = self._bounded(opened, name, most)
                except OSError as error:
                    raise DataError(f"{file} cannot be read: {error}.") from error
                yield name, content


class _Zip(Source):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise self._damaged(error) from error

    def names(self) -> list[str]:
        return [info.filename for info in self._zip.infolist() if not info.is_dir()]

    def items(self, names: Collection[str], most: int) -> Iterator[tuple[str, bytes]]:
        wanted = set(names)
        for info in self._zip.infolist():
            if info.filename in wanted and not info.is_dir():
                try:
                    with self._zip.open(info) as opened:
                        content = self._bounded(opened, info.filename, most)
                except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
                    raise self._damaged(error) from error
                yield info.filename, content

    def close(self) -> None:
        self._zip.close()


class _Tar(Source):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._tar = tarfile.open(path)  # noqa: SIM115 - closed by close()
            self._members = [member for member in self._tar.getmembers() if member.isfile()]
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise self._damaged(error) from error

    def names(self) -> list[str]:
        return [member.name for member in self._members]

    def items(self, names: Collection[str], most: int) -> Iterator[tuple[str, bytes]]:
        wanted = set(names)
        for member in self._members:
            if member.name in wanted:
                try:
                    opened = self._tar.extractfile(member)
                    content = self._bounded(opened, member.name, most) if opened else b""
                except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
                    raise self._damaged(error) from error
                yield member.name, content

    def close(self) -> None:
        self._tar.close()
