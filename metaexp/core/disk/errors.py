"""Errors of files, folders and disks, with messages that say what to do about them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from metaexp.core.errors import MachineError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NOT_USABLE = {
    errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG,
    errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.EBUSY,
}  # fmt: skip
"""Errors of files, folders and disks that a user can act on."""
_OF_THE_DISK = {errno.EIO, errno.EROFS, errno.EFBIG, errno.ESTALE}
"""Those that are never the fault of a program, even if the error names no file."""
_CONTINUE = "A run continues with resume=RUN_FOLDER, a sweep or a search with its own command, given again."
"""The same words for all, because what meets a disk does not know whether its run is a job."""


@contextmanager
def explain_disk_errors() -> Iterator[None]:
    """Raise errors of files and disks from this block with a message that says what to do."""
    try:
        yield
    except OSError as error:
        better = explain_disk_error(error)
        if better is None:
            raise
        raise better from error


def explain_disk_error(error: OSError) -> MachineError | None:
    """Return an error that a user can act on in place of ``error``; None if it may be a fault of the program."""
    if error.errno in _NO_SPACE:
        where = f" at {error.filename}" if error.filename else ""
        return MachineError(
            f"the disk is full{where}: {error.strerror}. Free some space. {_CONTINUE} To start again in another place, "
            "set paths.outputs."
        )
    if error.errno in (_NOT_USABLE if error.filename else _OF_THE_DISK):
        where = f"{error.filename} cannot be used" if error.filename else "a file cannot be read or written"
        return MachineError(
            f"{where}: {error.strerror}. Fix it, or choose another place (for a run: paths.outputs, paths.data). "
            f"{_CONTINUE}"
        )
    return None


def is_disks_fault(error: BaseException) -> bool:
    """Whether a disk caused an error: an input or output error, or a full or read-only disk."""
    while error.__cause__ is not None:
        error = error.__cause__
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK | _NO_SPACE:
            return True
    return False
