"""Locks on files, by filelock. The system releases a lock when its process ends, in whatever way."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from metaexp.core.disk.files import name_in_errors

RUN_LOCK = ".lock"
"""The file in a run folder that the process of the run locks."""
_SECONDS_OF_A_LOOK = 0.05
"""How long to wait for a lock that another process may only be testing."""


class LockedError(Exception):
    """Another process has the lock. ``holder`` names it."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"locked by {holder}")
        self.holder = holder


def acquire(path: Path, *, wait: bool = False) -> Callable[[], None]:
    """Take the lock on ``path``, a file that is made where it is missing, and write this process's number into it.

    Args:
        path: The lock's file. A link is refused, not followed.
        wait: Whether to wait until the other process lets go.

    Returns:
        A function that releases the lock.

    Raises:
        LockedError: Another process holds the lock, and ``wait`` is false.
        OSError: The file cannot be opened, or its folder does not exist.
    """
    path.parent.stat()  # filelock would make a missing folder
    import filelock  # takes longer than the rest of a start

    lock = filelock.FileLock(path, fallback_to_soft=False, thread_local=False, on_acquired=_write_holder)
    try:
        with name_in_errors(path):
            lock.acquire(timeout=-1 if wait else _SECONDS_OF_A_LOOK, poll_interval=0.01)
    except filelock.Timeout:
        raise LockedError(_holder(path)) from None
    return lock.release


@contextmanager
def hold_lock(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock on ``path`` within this block. Arguments and errors are those of :func:`acquire`.

    Args:
        path: The lock file.
        wait: Whether to wait while another process has locked it.
    """
    release = acquire(path, wait=wait)
    try:
        yield
    finally:
        release()


def is_locked(path: Path) -> bool:
    """Whether a process has the lock on ``path``. Makes no file."""
    if not path.exists():
        return False
    import filelock

    lock = filelock.FileLock(path, fallback_to_soft=False, thread_local=False)
    try:
        lock.acquire(timeout=_SECONDS_OF_A_LOOK / 2, poll_interval=0.01)
    except filelock.Timeout:
        return True
    lock.release()
    return False


def is_file_locked(path: Path) -> bool:
    """Return whether a process has a lock file locked. A link or a special file is not a lock.

    A file that may be read but not written, as in the folders of a colleague, counts as not locked.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        return is_locked(path)
    except OSError:
        return False


def _write_holder(handle: int) -> None:
    if os.fstat(handle).st_nlink > 1:  # a hard link: the file has another name elsewhere, and is not only a lock
        return
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps({"pid": os.getpid()}).encode(), 0)


def _holder(path: Path) -> str:
    """The process that has the lock; it may not have written its number yet."""
    for _ in range(3):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return f"process {json.loads(path.read_bytes()[:200])['pid']}"
        time.sleep(0.01)
    return "another process"
