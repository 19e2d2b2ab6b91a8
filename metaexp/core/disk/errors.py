"""Errors of files, folders and disks, with messages that say what to do about them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from metaexp.core.errors import MachineError

NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
"""Errors of a disk that is full, or of a user who may write no more to it."""
_NOT_USABLE = {
    errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG,
    errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.EBUSY,
}  # fmt: skip
"""Errors of files, folders and disks that a user can act on."""
_OF_THE_DISK = {errno.EIO, errno.EROFS, errno.EFBIG, errno.ESTALE}
"""Those that are never the fault of a program, even if the error names no file."""
_NEVER_BEGUN = {errno.ENAMETOOLONG, errno.ELOOP}
"""Those of a place in which no run, sweep or search can have begun."""
_CONTINUE = "A run continues with resume=RUN_FOLDER, a sweep or a search with its own command, given again."
"""The same words for all, because what meets a disk does not know whether its run is a job."""


class PlaceError(OSError):
    """A place that was tried before anything was written to it, and that cannot be used."""


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
    if isinstance(error, PlaceError) or (error.errno in _NEVER_BEGUN and error.filename):
        return _explain_place(error)
    if error.errno in NO_SPACE:
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


def _explain_place(error: OSError) -> MachineError:
    """Say it of a place where nothing has begun, so that there is nothing to continue."""
    is_full = error.errno in NO_SPACE
    what = f"the disk is full at {error.filename}" if is_full else f"{error.filename} cannot be used"
    how = "Free some space. Then" if is_full else "Fix it and"
    return MachineError(
        f"{what}: {error.strerror}. {how} give the same command again, or choose another place (for a run: "
        "paths.outputs=FOLDER)."
    )


def is_disks_fault(error: BaseException) -> bool:
    """Whether a disk caused an error: an input or output error, or a full or read-only disk."""
    while error.__cause__ is not None:
        error = error.__cause__
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK | NO_SPACE:
            return True
    return False
