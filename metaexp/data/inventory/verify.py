"""Whether the files of a dataset are intact: the published and noted digests of its sources, and its prepared files."""

from __future__ import annotations

from pathlib import Path

from metaexp.core.counted import agreeing, counted, listed
from metaexp.core.errors import DataError
from metaexp.data.files.download import file_digest
from metaexp.data.files.progress import Progress
from metaexp.data.inventory.caches import cache_files, check_cache
from metaexp.data.inventory.noted import digests_of, list_file, read_noted, write_noted
from metaexp.data.inventory.sources import SourceFile, Sources

_NAMED = 5


def verify(name: str, sources: Sources, place: Path | None, progress: Progress) -> list[str]:
    """Check everything that is here of a dataset, and go on where something is damaged.

    Args:
        name: The name of the dataset.
        sources: Its files.
        place: The folder of the cache; None where there is none.
        progress: Receives a line for each file that is intact.

    Returns:
        A sentence for each file that is damaged; it names the file.
    """
    damaged: list[str] = []
    unpublished: list[Path] = []
    for file in sources.files:
        try:
            said = _published(file, progress)
        except DataError as error:
            damaged.append(str(error))
            continue
        if said:
            progress(f"  {file.path}: {said}")
        else:
            unpublished.append(file.path)
    if unpublished:
        damaged += _compare_with_noted(name, unpublished, place, progress)
    for path in cache_files(place, sources.cache):
        try:
            progress(f"  {path}: intact, SHA-256 {check_cache(path)[:12]}")
        except DataError as error:
            damaged.append(str(error))
    return damaged


def note(name: str, sources: Sources, place: Path | None) -> Path | None:
    """Note the digests of source files that have no published one; those of other files of the dataset stay.

    Args:
        name: The name of the dataset.
        sources: Its files.
        place: The folder of the cache; None where there is none.

    Returns:
        The list; None where nothing is to be noted, or nowhere.

    Raises:
        DataError: A file cannot be read.
    """
    paths = [file.path for file in sources.files if file.check is None and file.remote is None]
    if place is None or not paths:
        return None
    file = list_file(place, name)
    old = {path: digest for path, digest in read_noted(file).items() if not _is_under(path, paths)}
    write_noted(file, old | digests_of(paths))
    return file


def _published(file: SourceFile, progress: Progress) -> str:
    """Why a file is right: it is as published, or its content is; empty where nobody has published a digest."""
    if file.remote is not None and file.path.is_file():
        kind, expected = file.remote.digest()
        try:
            found = file_digest(file.path, kind)
        except OSError as error:
            raise DataError(f"{file.path} cannot be read: {error.strerror or error}.") from error
        if found == expected:
            return f"as published, {kind} {found[:12]}"
        if file.check is None:
            raise DataError(
                f"{file.path} is not the published file: its {kind} is {found}, and should be {expected}. Remove it to "
                "have it fetched, or replace it."
            )
    return "" if file.check is None else file.check(progress)


def _compare_with_noted(name: str, paths: list[Path], place: Path | None, progress: Progress) -> list[str]:
    """Compare files with the list, or note them where they are in no list."""
    if place is None:
        progress("  No digests of these files are published, and there is no folder to note them in.")
        return []
    file = list_file(place, name)
    noted, found = read_noted(file), digests_of(paths)
    expected = {path: digest for path, digest in noted.items() if _is_under(path, paths)}
    if not expected:
        write_noted(file, noted | found)
        progress(f"  {counted(len(found), 'file')} without a published digest: noted now in {file}, for the next call.")
        return []
    changed = [path for path, digest in expected.items() if found.get(path, digest) != digest]
    missing = [path for path in expected if path not in found]
    new = [path for path in found if path not in expected]
    alike = len(expected) - len(changed) - len(missing)
    progress(f"  {counted(alike, 'file')} {agreeing(alike, 'is')} as noted in {file}.")
    advice = f"If you changed that yourself: metaexp data prepare {name} notes them again."
    return [
        f"{listed(which, _NAMED)} {said} since {file} was written. {advice}"
        for which, said in ((changed, "changed"), (missing, "disappeared"), (new, "came"))
        if which
    ]


def _is_under(path: str, paths: list[Path]) -> bool:
    return any(Path(path).is_relative_to(place.absolute()) for place in paths)
