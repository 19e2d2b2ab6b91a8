"""Contents of caches that are held in memory for processes forked from this one, which share it. Without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from metaexp.data.base import Progress

Contents = TypeVar("Contents")
Wanted = tuple[object, ...]
"""All that decides whether the contents of a cache are accepted: its identity, its checksum."""
Stamp = tuple[int, int, int, int]


class _Held(NamedTuple, Generic[Contents]):
    wanted: Wanted
    stamp: Stamp
    contents: Contents


class _FillingError(Exception):
    """Ends a load when its examples are held, or when it turns out that they are not in the cache."""


class HeldContents(Generic[Contents]):
    """Contents of caches, accepted once. One is used as long as its file is the same one, unchanged."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._held: dict[Path, _Held[Contents]] = {}
        self._is_filling = False

    def find(self, path: Path, wanted: Wanted) -> Contents | None:
        """Return the contents of a cache, where they are held and nothing has changed since; else None."""
        held = self._held.get(path)
        return held.contents if held is not None and held[:2] == (wanted, _stamp(path)) else None

    def is_current(self, path: Path) -> bool:
        """Whether the contents of a cache are held, and the file has not changed since."""
        held = self._held.get(path)
        return held is not None and held.stamp == _stamp(path)

    def offer(self, path: Path, wanted: Wanted, read: Callable[[], Contents | None]) -> Contents | None:
        """Return the contents of a cache, held ones or else what ``read`` gives.

        While the memory is filled, they are held instead, and the load ends here.
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
        """Hold what a load reads from the cache. Nothing is built, fetched or computed, and no torch operation runs.

        Args:
            load: :meth:`metaexp.data.base.Dataset.load` of a dataset that reads the cache first.

        Returns:
            The file of the cache; None where there is none, or it is not accepted.
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
        """Called where examples would be built: that is not for the process that only holds them."""
        if self._is_filling:
            raise _FillingError


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
