"""Watches what a call does outside a folder: files that it changes, reads or makes there, and how long it takes."""

from __future__ import annotations

import ctypes
import faulthandler
import hashlib
import os
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_OLD = 1_000_000_000
"""A time of last access that lies before that of the last change, so that the system notes every read (relatime)."""
_READS_ANYTHING = (1, 2)
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: what lets root read and write files whose mode forbids it."""


class Hang(BaseException):
    """A call took longer than it may."""


def snapshot(folder: Path) -> dict[str, tuple[Any, ...]]:
    """What is below a folder, without following a link: type, mode, content, link, times of change."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        state = path.lstat()
        content: object = None
        if stat.S_ISREG(state.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        elif stat.S_ISLNK(state.st_mode):
            content = str(path.readlink())
        found[str(path.relative_to(folder))] = (state.st_mode, content, state.st_mtime_ns, state.st_ctime_ns)
    return found


_listening: list[Watch] = []
"""The watch that hears what Python does, if any. Hooks cannot be removed, so there is one for all watches."""


def _listen(watch: Watch | None) -> None:
    """Let one watch hear what Python does, or none."""
    global _has_hook
    if not _has_hook:
        sys.addaudithook(lambda event, arguments: _listening[0].heard(event, arguments) if _listening else None)
        _has_hook = True
    _listening[:] = [] if watch is None else [watch]


_has_hook = False


class Watch:
    """Watches a folder that nothing may read or write.

    Args:
        outside: The folder, with its files. Its content is never changed by the watch; only access times are.
    """

    def __init__(self, outside: Path) -> None:
        self.outside = outside
        self.opened: list[str] = []
        self._prefix = os.path.realpath(outside) + os.sep
        self._is_on = False

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note every file below the folder that Python opens, lists, removes or makes, also through a link."""
        if not self._is_on or not event.startswith(("open", "os.", "shutil.", "pickle.find_class")):
            return
        self._is_on = False  # what happens here is not heard
        try:
            flags = arguments[2] if event == "open" and isinstance(arguments[2], int) else 0
            for argument in arguments[:2]:
                if not isinstance(argument, (str, bytes, os.PathLike)):
                    continue
                path = os.fsdecode(argument)
                if flags & os.O_NOFOLLOW and Path(path).is_symlink():
                    continue  # which refuses it
                if (os.path.realpath(path) + os.sep).startswith(self._prefix) and event not in ("os.readlink",):
                    self.opened.append(f"{event} {path!r}")
        except (OSError, ValueError):
            return
        finally:
            self._is_on = True

    @contextmanager
    def record_faults(self) -> Iterator[list[str]]:
        """Within this block the folder is watched. Yields what is found wrong, once the block has ended."""
        faults: list[str] = []
        self.opened = []
        before = snapshot(self.outside)
        files = [path for path in self.outside.rglob("*") if path.is_file() and not path.is_symlink()]
        for path in files:
            os.utime(path, ns=(_OLD, path.stat().st_mtime_ns))
        before = {name: state[:3] for name, state in before.items()}
        _listen(self)
        self._is_on = True
        try:
            yield faults
        finally:
            self._is_on = False
            _listen(None)
            faults += [f"opened outside: {what}" for what in self.opened]
            there = [path for path in files if path.exists()]
            faults += [f"read outside: {path.name}" for path in there if path.stat().st_atime_ns != _OLD]
            after = {name: state[:3] for name, state in snapshot(self.outside).items()}
            faults += [f"changed outside: {n}" for n in {**before, **after} if before.get(n) != after.get(n)]


@contextmanager
def limit_time(seconds: float) -> Iterator[None]:
    """Raise Hang in this block once it has computed for so long, or has waited for twelve times as long.

    On a busy machine a call that only computes may take long by the clock. A call that even this does not end, ends
    the process.
    """

    def late(*_: object) -> None:
        raise Hang

    before = [(number, signal.signal(number, late)) for number in (signal.SIGALRM, signal.SIGPROF)]
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)
    signal.setitimer(signal.ITIMER_REAL, 12 * seconds, 1.0)
    faulthandler.dump_traceback_later(40 * seconds, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        for number, handler in before:
            signal.signal(number, handler)


@contextmanager
def drop_rights_of_root() -> Iterator[None]:
    """Within this block root, too, may read and write only what the modes of files allow (on Linux)."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    before, within = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    if libc.capget(header, before) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    within[:] = before[:]
    for capability in _READS_ANYTHING:
        within[0] &= ~(1 << capability)
    if libc.capset(header, within) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    try:
        yield
    finally:
        libc.capset(header, before)
