"""Writes files so that a crash leaves the old or the new one, and opens them without following links.

A run folder may come from a stranger, so it is data. Nothing in it is opened through a symbolic link, and nothing but
regular files is opened: a link could lead to a file of the user, and a FIFO or a device would hold a reader up.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from metaexp.core.errors import RunFolderError

MOST_BYTES = 1 << 28
"""How much of a file is read at most by default: 256 MiB."""

_MOST_TENSOR_BYTES = 1 << 36
"""64 GiB."""
_MOST_HEADER_BYTES = 100_000_000
"""The largest header that safetensors allows."""
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # Windows has neither
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_CANNOT_READ = (errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG)
_FOREIGN = ("wandb", "tensorboard")
"""Folders in a run folder that other programs fill; they hold links of their own, to places inside it."""


@contextmanager
def name_in_errors(path: Path) -> Iterator[None]:
    """Within this block, name ``path`` in errors of the system that name no file, such as those of writing."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` so that a crash leaves the old file or the new one, never half of one.

    The content goes to a temporary name in the same folder, which is synced and renamed over ``path``. A link at
    ``path`` is replaced, not followed.

    Args:
        path: The file to write.
        content: All of its bytes.

    Raises:
        OSError: The file cannot be written; the old one is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY, 0o666)
        with name_in_errors(path), os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def encode_text(text: str) -> bytes:
    """Return ``text`` as UTF-8. What UTF-8 cannot hold is escaped as JSON and YAML do.

    Names of files that are not UTF-8 come to Python with halves of surrogate pairs in the place of such bytes.
    """
    return text.encode("utf-8", "backslashreplace")


def sync_folder(folder: Path) -> None:
    """Make renames and new files in ``folder`` survive a power cut, if the system supports it."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading, never through a link.

    Args:
        path: The file. Links in its parent folders are followed; :func:`refuse_links` checks a whole run folder.

    Returns:
        The open file.

    Raises:
        RunFolderError: ``path`` is a link, a folder, a FIFO, a device or a socket, or the user may not read it.
        OSError: The file is missing.
    """
    return os.fdopen(_open(path, os.O_RDONLY), "rb")


def is_special(path: Path) -> bool:
    """Whether something is neither a file nor a folder: a FIFO or a device, which reading may wait for without end.

    Args:
        path: Links are followed. What is not there is not special.
    """
    return path.exists() and not path.is_file() and not path.is_dir()


def reason(error: Exception) -> str:
    """Return what the system says went wrong, without number and file; of other errors, the whole text."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def read_regular(path: Path, most: int = MOST_BYTES) -> bytes:
    """Read a regular file, never through a link and never more than ``most`` bytes.

    Args:
        path: The file.
        most: The largest size that is accepted, in bytes.

    Returns:
        The content of the file.

    Raises:
        RunFolderError: ``path`` is not a regular file, is larger than ``most``, or the user may not read it.
        OSError: The file is missing.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise RunFolderError(f"{path} has {size} bytes; at most {most} are read. It is not a file of a run.")
        return file.read(size)


def open_tensors(path: Path) -> IO[bytes]:
    """Open a file of weights as :func:`open_regular` does, and check its size before anybody reads it.

    A hole of a terabyte takes no room on a disk, and hours to read. So a large safetensors file must be as long as its
    header says.

    Returns:
        The open file, at its beginning.

    Raises:
        RunFolderError: The file is not one that :func:`open_regular` opens, is longer or shorter than its header says,
            or has more than 64 GiB.
        OSError: The file is missing.
    """
    file = open_regular(path)
    size = os.fstat(file.fileno()).st_size
    if size > MOST_BYTES and (size > _MOST_TENSOR_BYTES or (path.suffix == ".safetensors" and _length(file) != size)):
        file.close()
        raise RunFolderError(f"{path} has {size} bytes, and is not a file of weights of that length. Restore it.")
    file.seek(0)
    return file


def _length(file: IO[bytes]) -> int | None:
    """The length that the header of a safetensors file gives it; None where there is no such header."""
    header = int.from_bytes(file.read(8), "little")
    if header > _MOST_HEADER_BYTES:
        return None
    try:
        entries = json.loads(file.read(header))
        return 8 + header + max(int(e["data_offsets"][1]) for name, e in entries.items() if name != "__metadata__")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def append_regular(path: Path) -> IO[bytes]:
    """Open a regular file for appending, made where it is missing, never through a link.

    A file with other names elsewhere (hard links, as ``cp -al`` makes them) is replaced by a copy first, so that what
    is written here does not appear there.

    Returns:
        The open file.

    Raises:
        RunFolderError: ``path`` is a link, a folder, a FIFO, a device or a socket.
        OSError: The file cannot be written.
    """
    handle = _open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    if os.fstat(handle).st_nlink > 1:
        os.close(handle)
        with open_regular(path) as file:
            content = file.read()
        write_atomically(path, content)
        handle = _open(path, os.O_WRONLY | os.O_APPEND)
    return os.fdopen(handle, "ab")


def make_folder(path: Path) -> None:
    """Make a folder inside a folder that is there; a link in its place is refused.

    Args:
        path: The folder. Its parent must be there.

    Raises:
        RunFolderError: There is a link or a file in its place.
        OSError: The folder cannot be made.
    """
    try:
        path.mkdir()
    except FileExistsError:
        mode = path.lstat().st_mode
        if not stat.S_ISDIR(mode):
            raise RunFolderError(_refusal(path, mode)) from None


def refuse_links(folder: Path) -> None:
    """Raise RunFolderError when anything inside a run folder is neither a folder nor a regular file.

    The folder itself may be a link: the user named it. In folders that other programs fill (W&B,
    TensorBoard) links may lead to places inside the run folder.

    Raises:
        RunFolderError: There is a link or another special file, or a folder that cannot be read.
    """
    waiting = [(folder, False)]
    while waiting:
        place, is_foreign = waiting.pop()
        for entry in _entries(place):
            mode, path = entry.stat(follow_symlinks=False).st_mode, Path(entry.path)
            if stat.S_ISDIR(mode):
                waiting.append((path, is_foreign or entry.name in _FOREIGN))
            elif not stat.S_ISREG(mode) and not (is_foreign and stat.S_ISLNK(mode) and _leads_inside(path, folder)):
                raise RunFolderError(_refusal(path, mode))


def _leads_inside(link: Path, folder: Path) -> bool:
    """Whether a link ends in a run folder, or did so before the folder was moved or copied. W&B makes some that do."""
    if Path(os.path.realpath(link)).is_relative_to(os.path.realpath(folder)):
        return True
    then = link.readlink()
    if not then.is_absolute() or {link.suffix, then.suffix} != {".log"}:
        return False
    return any(_is_regular(folder.joinpath(*then.parts[i:])) for i, part in enumerate(then.parts) if part in _FOREIGN)


def _is_regular(path: Path) -> bool:
    """Whether there is a regular file. Neither the path nor a folder above it may be a link."""
    try:
        return Path(os.path.realpath(path)) == Path(os.path.realpath(path.parent)) / path.name and path.is_file()
    except OSError:
        return False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except PermissionError as error:
        raise RunFolderError(f"{folder} cannot be read: {error.strerror}. Make it readable for you.") from None


def _open(path: Path, flags: int) -> int:
    try:
        handle = os.open(path, flags | _NO_FOLLOW | _NO_WAIT | _BINARY, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR) and os.path.lexists(path):
            raise RunFolderError(_refusal(path, path.lstat().st_mode)) from None
        if error.errno in _CANNOT_READ and flags == os.O_RDONLY:
            raise RunFolderError(f"{path} cannot be read: {error.strerror}. Make it readable for you.") from None
        raise
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return handle
    os.close(handle)
    raise RunFolderError(_refusal(path, mode))


def _refusal(path: Path, mode: int) -> str:
    kinds = {
        stat.S_ISLNK: "a symbolic link", stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a FIFO",
        stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device", stat.S_ISREG: "a file",
    }  # fmt: skip
    what = next((name for is_kind, name in kinds.items() if is_kind(mode)), "not a regular file")
    wanted = "a folder" if stat.S_ISREG(mode) else "a regular file"
    return f"{path} is {what}, and {wanted} belongs there, so it was not opened. Remove it or replace it by a copy."
