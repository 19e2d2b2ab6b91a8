"""Warnings about the examples of a dataset whose class a user wrote, as about those of a file."""

from __future__ import annotations

from metaexp.data.base import Dataset, MetaDataset, Progress
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.duplicates import warn_of_duplicates
from metaexp.data.classification.scales import warn_of_large_values, warn_of_scales
from metaexp.data.classification.suspect_images import warn_of_suspect_images


class Heard:
    """Passes lines on, and remembers them.

    Args:
        progress: Receives each line.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        """Take a line."""
        self.lines.append(line)
        self.progress(line)


def warn_of_own_examples(description: Dataset, loaded: MetaDataset, heard: Heard) -> None:
    """Say when examples are in two splits or twice in a class, and when values are too large, or all are dark.

    Datasets of metaexp say so themselves where their examples are the user's. Examples that stay on disk are not read.

    Args:
        description: The description of the dataset.
        loaded: What it has loaded.
        heard: What it has said while it loaded. It receives a line for each, except what a base class has said.
    """
    loads = next(cls for cls in type(description).__mro__ if "load" in vars(cls))
    if loads.__module__.startswith("metaexp.") or not isinstance(loaded, ClassDataset) or not loaded.in_memory:
        return
    examples, sizes, splits = loaded.given_examples().detach(), loaded.sizes(), loaded.class_names
    if not examples.numel():
        return
    said = tuple(heard.lines)

    def progress(line: str) -> None:
        begin, _, end = line.partition(f" of {loaded.origin.name} ")  # a base class may name its file there
        if not any(known.startswith(begin) and known.endswith(end) for known in said):
            heard(line)

    warn_of_duplicates(examples, sizes, splits, progress)
    warn_of_scales(examples, sizes, splits, progress)
    warn_of_suspect_images(examples, loaded.origin.name, progress)
    warn_of_large_values(examples, sizes, splits, loaded.origin.name, progress)
