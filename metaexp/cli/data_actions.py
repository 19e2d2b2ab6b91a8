"""``metaexp data list``, ``show`` and ``verify``. Importing this module does not import torch."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

from metaexp.config.check import SLOTS
from metaexp.config.classes.checker import class_spec
from metaexp.config.classes.make import make
from metaexp.config.compose import Composer
from metaexp.config.interpolation import resolve_all
from metaexp.config.purpose import Purpose
from metaexp.core.counted import counted
from metaexp.core.errors import DataError, MetaexpError
from metaexp.core.terminal_text import print_text
from metaexp.data.base import Dataset
from metaexp.data.cache.place import cache_folder
from metaexp.data.inventory.caches import cache_files
from metaexp.data.inventory.table import Row, format_table, row, unusable
from metaexp.data.inventory.verify import note, verify


def print_datasets(composer: Composer, overrides: Sequence[str]) -> int:
    """Print a table of every dataset and return the exit code. Nothing is read or fetched, and no torch is imported.

    Args:
        composer: Composes the configurations.
        overrides: Such as ``paths.data=DIR``.
    """
    folder = composer.settings(overrides, Purpose.LOOK).paths.data
    place = cache_folder(folder, make=False)
    rows = [_row(composer, name, folder, place) for name in composer.groups()["dataset"]]
    print_text(format_table(rows, folder))
    return 0


def print_dataset(name: str, dataset: Dataset, folder: Path) -> bool:
    """Print where a dataset comes from and where its files are.

    Args:
        name: Its name.
        dataset: Its description.
        folder: ``paths.data``.

    Returns:
        Whether its files are here, so that it can be loaded and described without fetching anything.
    """
    about = (inspect.getdoc(type(dataset)) or "").splitlines()
    print_text(f"{name}: {about[0] if about else type(dataset).__name__}")
    if dataset.card is not None:
        print_text(f"  source:  {dataset.card.source}")
    print_text(f"  licence: {(dataset.card and dataset.card.licence) or 'not known to metaexp'}")
    sources = dataset.sources(folder)
    if sources is None:
        return True
    for file in sources.files:
        print_text(f"  file:    {file.path.absolute()}")
    if not sources.advice:
        return True
    for split, capacity in (dataset.capacity() or {}).items():
        print_text(
            f"  {split + ':':8s} {counted(capacity.n_classes, 'class')}, "
            f"{counted(capacity.per_class, 'example')} in the smallest"
        )
    print_text(f"  Its files are not here. {sources.advice_for(name)}")
    if hasattr(dataset, "stand_in"):
        print_text(f"  Made-up images take their place: metaexp data dataset={name} dataset.stand_in=true")
    return False


def verify_files(name: str, dataset: Dataset, folder: Path) -> int:
    """Compare the files of a dataset with their digests, and return the exit code.

    Args:
        name: Its name.
        dataset: Its description.
        folder: ``paths.data``.

    Raises:
        DataError: Files are missing or damaged; each is named.
    """
    sources = dataset.sources(folder)
    if sources is None:
        raise DataError(f"verify: the class of dataset={name} does not say which files it reads (Dataset.sources).")
    if sources.advice:
        raise DataError(f"verify: files of {name} are not here. {sources.advice_for(name)}")
    place = cache_folder(folder)
    damaged = verify(name, sources, place, lambda line: print_text(line))
    if damaged:
        raise DataError("\n".join([f"{len(damaged)} damaged", *damaged]))
    if sources.files or cache_files(place, sources.cache):
        print_text(f"{name}: nothing is damaged.")
    else:
        print_text(f"{name}: there are no files, since it is computed.")
    return 0


def note_digests(name: str, dataset: Dataset, folder: Path) -> None:
    """Note the digests of the files of a dataset that has just been prepared, and print where.

    Args:
        name: Its name.
        dataset: Its description.
        folder: ``paths.data``.
    """
    sources = dataset.sources(folder)
    file = None if sources is None else note(name, sources, cache_folder(folder))
    if file is not None:
        print_text(
            f"The SHA-256 of the files that were read is noted in {file}, for `metaexp data verify {name}`.",
            file=sys.stderr,
        )


def _row(composer: Composer, name: str, folder: Path, place: Path | None) -> Row:
    """The row of one dataset with the values of its file."""
    try:
        node = resolve_all(composer.compose([f"dataset={name}"]).config).config["dataset"]
        spec = class_spec(node, SLOTS["dataset"], "dataset")
        return row(name, make(spec, Dataset), folder, place)  # type: ignore[type-abstract]
    except MetaexpError as error:
        return unusable(name, error)
