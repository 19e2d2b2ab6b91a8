"""Keeps contents of caches in memory, for the processes that are forked from this one. Without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from metaexp.data.files.progress import Progress

Contents = TypeVar("Contents")
Wanted = tuple[object, ...]
"""What the contents of a cache must have to be used, such as its identity and its checksum."""
Stamp = tuple[int, int, int, int]


class _Held(NamedTuple, Generic[Contents]):
    wanted: Wanted
    stamp: Stamp
    contents: Contents


class _FillingError(Exception):
    """Ends a load, once its examples are in memory or are found not to be in the cache."""


class HeldContents(Generic[Contents]):
    """Contents of caches in memory. They are used as long as the file of the cache has not changed."""

    def __init__(self) -> None:
        """Start with no contents."""
        self._held: dict[Path, _Held[Contents]] = {}
        self._is_filling = False

    def find(self, path: Path, wanted: Wanted) -> Contents | None:
        """Return the contents of a cache if they are in memory and nothing has changed since; else None.

        Args:
            path: The cache file.
            wanted: What the content of the file must have been made from.
        """
        held = self._held.get(path)
        return held.contents if held is not None and held[:2] == (wanted, _stamp(path)) else None

    def is_current(self, path: Path) -> bool:
        """Whether the contents of a cache are in memory, and the file has not changed since."""
        held = self._held.get(path)
        return held is not None and held.stamp == _stamp(path)

    def offer(self, path: Path, wanted: Wanted, read: Callable[[], Contents | None]) -> Contents | None:
        """Return the contents of a cache, from memory or else from ``read``.

        Within :meth:`fill` they are kept in memory instead, and the load ends here.

        Args:
            path: The file of the cache.
            wanted: What its contents must have to be used.
            read: Reads the contents; None if they cannot be used.
        """
        stamp = _stamp(path)
        contents = self.find(path, wanted)
        contents = read() if contents is None else contents
        if self._is_filling:
            if contents is not None and stamp is not None and stamp == _stamp(path):
                self._held[path] = _Held(wanted, stamp, contents)
            raise _FillingError
        return contents

    def fill(self, load: Callable[[Progress], object]) -> Path | None:
        """Keep in memory what a load reads from the cache. Nothing is built or fetched, and no torch operation runs.

        Args:
            load: :meth:`metaexp.data.base.Dataset.load` of a dataset that reads the cache first.

        Returns:
            The file of the cache; None if there is none, or it cannot be used.
        """
        before = dict(self._held)
        self._is_filling = True
        try:
            load(lambda _: None)
        except _FillingError:
            pass
        finally:
            self._is_filling = False
        return next((path for path, held in self._held.items() if before.get(path) is not held), None)

    def end_filling(self) -> None:
        """Call this before examples are built. Within :meth:`fill` none are, so the load ends here."""
        if self._is_filling:
            raise _FillingError


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
