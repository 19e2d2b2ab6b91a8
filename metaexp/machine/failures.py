"""Errors of the machine, with messages that say what to do about them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from metaexp.core.errors import ConfigError, MachineError, MetaexpError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NOT_USABLE = {
    errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG,
    errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.EBUSY,
}  # fmt: skip
"""What a file, a folder or a disk may answer that a user can act on."""
_OF_THE_DISK = {errno.EIO, errno.EROFS, errno.EFBIG, errno.ESTALE}
"""Those that no program is to blame for, whether or not the error names a file."""


def explained(error: BaseException) -> MetaexpError | None:
    """Return an error that a user can act on in place of ``error``; None if there is none."""
    if isinstance(error, MetaexpError):
        return error
    text = str(error)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in text:
        return MachineError(
            f"out of memory: {_first_line(error)}. Compute fewer tasks at once with device.task_chunk "
            "(8, say; 1 is the least), or lower train.meta_batch_size, which changes the numbers."
        )
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        where = f" at {error.filename}" if error.filename else ""
        return MachineError(
            f"the disk is full{where}: {error.strerror}. Free some space and continue with resume=..., "
            "or choose another place with paths.outputs."
        )
    if isinstance(error, OSError) and error.errno in (_NOT_USABLE if error.filename else _OF_THE_DISK):
        where = f"{error.filename} cannot be used" if error.filename else "a file cannot be read or written"
        return MachineError(
            f"{where}: {error.strerror}. Mend it, or choose another place with paths.outputs or paths.data; an "
            "interrupted run continues with resume=..."
        )
    if "does not have a deterministic implementation" in text:
        return ConfigError(
            f"{_first_line(error)}. Set device.deterministic=false to allow it; "
            "equal runs may then differ in the last bits."
        )
    return None


@contextmanager
def explain_errors() -> Iterator[None]:
    """Raise errors of the machine from this block with a message that says what to do."""
    try:
        yield
    except Exception as error:
        better = explained(error)
        if better is None or better is error:
            raise
        raise better from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
