"""Loads a dataset whose class a user wrote, and warns of its examples, as of those of a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from traceback import walk_tb

from torch import Tensor

from metaexp.core.errors import MissingDataError
from metaexp.data.base import Dataset, MetaDataset, Progress
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.duplicates import warn_of_duplicates
from metaexp.data.classification.scales import warn_of_large_values, warn_of_scales
from metaexp.data.classification.suspect_images import warn_of_suspect_images
from metaexp.data.values.refused_values import format_missing


def load(description: Dataset, folder: Path, progress: Progress) -> MetaDataset:
    """Load a dataset. A file that its class opens and that is not there is missing data, and no fault of a program.

    Args:
        description: The description of the dataset.
        folder: ``paths.data``.
        progress: Receives what the dataset says while it loads.

    Raises:
        MissingDataError: A file is not there.
        DataError: The data are damaged.
    """
    try:
        return description.load(folder, progress)
    except FileNotFoundError as error:
        if error.filename is None or _looked_for_program(error):
            raise
        path = Path(os.fsdecode(error.filename))
        seen_from = "" if path.is_absolute() else f" in the current folder {Path.cwd()}"
        raise MissingDataError(
            f"{type(description).__name__}.load opens {path}, which is not there{seen_from}. Put the file there, or "
            f"set another place: load is given the folder paths.data={folder}, whose default is METAEXP_DATA or `data` "
            "in the current folder."
        ) from error


def _looked_for_program(error: FileNotFoundError) -> bool:
    """Whether an error is about a program that own code wanted to run, and not about a file of the data."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__") == "subprocess"


def load_and_warn(description: Dataset, folder: Path, progress: Progress) -> MetaDataset:
    """Load a dataset, and say when examples are in two splits or twice in a class, not finite, too large, or all dark.

    Datasets of metaexp say so themselves where their examples are the user's. Examples that stay on disk are not read.

    Args:
        description: The description of the dataset.
        folder: ``paths.data``.
        progress: Receives what the dataset says while it loads, and a line for each warning that is not among it.

    Raises:
        DataError: The data are missing or damaged.
    """
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        progress(line)

    loaded = load(description, folder, hear)
    loads = next(cls for cls in type(description).__mro__ if "load" in vars(cls))
    if not loads.__module__.startswith("metaexp.") and isinstance(loaded, ClassDataset) and loaded.in_memory:
        _warn(loaded, tuple(said), progress)
    return loaded


def _warn(loaded: ClassDataset, said: Sequence[str], progress: Progress) -> None:
    """Say what is suspicious, except what a base class has said while it loaded."""
    examples, sizes, splits = loaded.given_examples().detach(), loaded.sizes(), loaded.class_names
    if not examples.numel():
        return

    def say(line: str) -> None:
        begin, _, end = line.partition(f" of {loaded.origin.name} ")  # a base class may name its file there
        if not any(known.startswith(begin) and known.endswith(end) for known in said):
            progress(line)

    warn_of_duplicates(examples, sizes, splits, say)
    if missing := _format_missing(examples, sizes, loaded.origin.name):
        say(missing)  # the size of such numbers says nothing
        return
    warn_of_scales(examples, sizes, splits, say)
    warn_of_suspect_images(examples, loaded.origin.name, say)
    warn_of_large_values(examples, sizes, splits, loaded.origin.name, say)


def _format_missing(examples: Tensor, sizes: Mapping[str, int], name: str) -> str:
    """A warning that some of the examples (B, ...) are not finite; an empty text if all are."""
    if not examples.is_floating_point():
        return ""
    n_wrong, first, where, end = 0, 0.0, "", 0
    for class_name, n_examples in sizes.items():
        values = examples[end : end + n_examples].reshape(n_examples, -1)
        wrong = ~values.isfinite()
        if not n_wrong and wrong.any():
            row, column = divmod(int(wrong.numpy().argmax()), values.shape[1])
            first, where = float(values[row, column]), f"example {row} of class {class_name}"
        n_wrong += int(wrong.sum())
        end += n_examples
    return "Warning: " + format_missing(n_wrong, examples.numel(), f"values of {name}", first, where) if n_wrong else ""
