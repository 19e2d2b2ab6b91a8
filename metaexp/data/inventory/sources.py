"""Where the files of a dataset are, found without reading or fetching them. Importing this module takes no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from metaexp.core.errors import DataError
from metaexp.data.files.archives import first_existing
from metaexp.data.files.download import Remote
from metaexp.data.files.progress import Progress

How = Literal["computed", "fetched", "by hand", "own files", "fonts"]
"""Where the data come from: computed here, fetched on first use, put there by hand, files of the user, or fonts."""


class SourceFile(NamedTuple):
    """A file, or a folder of files, that a dataset is read from.

    Attributes:
        path: Where it is.
        remote: The published file with its digest; None where none is known.
        check: Checks the content of a file that may be packed in another way than published. It returns what is right,
            or raises DataError.
    """

    path: Path
    remote: Remote | None = None
    check: Callable[[Progress], str] | None = None


class Sources(NamedTuple):
    """What a dataset is read from.

    Attributes:
        how: How one comes to the data.
        files: What is here.
        advice: What to do where something is missing; empty where nothing is.
        cache: How the names of the prepared files in the cache begin; empty where none are kept.
        fetch_size: What is missing and can be fetched, such as ``14 MB``; empty where there is no such thing.
    """

    how: How
    files: tuple[SourceFile, ...] = ()
    advice: str = ""
    cache: str = ""
    fetch_size: str = ""

    @property
    def n_bytes(self) -> int | None:
        """Size of the files together; None where one of them is a folder, which takes long to measure."""
        if any(file.path.is_dir() for file in self.files):
            return None
        return sum(file.path.stat().st_size for file in self.files if file.path.is_file())

    def advice_for(self, name: str) -> str:
        """Return the advice with the name of the dataset in the command that fetches it."""
        return self.advice.replace("metaexp data prepare fetches", f"metaexp data prepare {name} fetches")


def computed(cache: str = "") -> Sources:
    """Return the sources of data that are computed.

    Args:
        cache: How the names of the prepared files begin; empty where none are kept.
    """
    return Sources("computed", cache=cache)


def looked_for(find: Callable[[], Iterable[Path]], how: How, cache: str = "") -> Sources:
    """Return the sources that a function finds.

    Args:
        find: Returns files and folders; it raises DataError where they are missing, with what to do.
        how: How one comes to them.
        cache: How the names of the prepared files begin; empty where none are kept.
    """
    try:
        return Sources(how, tuple(SourceFile(path) for path in find()), cache=cache)
    except DataError as error:
        return Sources(how, advice=str(error), cache=cache)


def places_of(folder: Path, names: Sequence[str], fetched: str) -> list[Path]:
    """Return where the files of a dataset that is fetched are looked for.

    Args:
        folder: ``paths.data``.
        names: Folders inside it, in order; ``.`` is the folder itself.
        fetched: The folder in the user's cache, into which files go if ``paths.data`` cannot be written.
    """
    from metaexp.core.disk.user_cache import user_cache

    return [*(folder / name for name in names), user_cache() / fetched]


def to_fetch(size: str, cache: str, files: Sequence[SourceFile] = (), name: str = "") -> Sources:
    """Return the sources of a dataset of which files are missing that can be fetched.

    Args:
        size: Their size, such as ``14 MB``.
        cache: How the names of the prepared files begin.
        files: What is here.
        name: The dataset that the command prepares; empty for the one that the user named.
    """
    command = f"metaexp data prepare {name}".rstrip()
    return Sources("fetched", tuple(files), f"{command} fetches it: {size}", cache, size)


def fetched_files(
    places: Sequence[Path], parts: Sequence[tuple[Sequence[str], Remote]], size: str, cache: str
) -> Sources:
    """Return the sources of a dataset that is fetched on first use.

    Args:
        places: Where its files are looked for.
        parts: For each file, the names that it may have, the published one first, and the published file.
        size: The size of all of them, such as ``169 MB``.
        cache: How the names of the prepared files begin.
    """
    found = [(first_existing(places, names), names, remote) for names, remote in parts]
    here = [SourceFile(path, remote if path.name == names[0] else None) for path, names, remote in found if path]
    return to_fetch(size, cache, here) if len(here) < len(parts) else Sources("fetched", tuple(here), cache=cache)
