"""Which classes of a test were in training: by their names in a dataset, and by their examples."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from metaexp.core.errors import ConfigError
from metaexp.core.shapes import Split
from metaexp.data.base import MetaDataset

ClassIds = Mapping[str, frozenset[str]]
"""Class -> its identifiers."""


def training_class_ids(dataset: MetaDataset) -> list[str]:
    """Return the identifiers of all classes of the training split, sorted; none in regression."""
    return identifiers(dataset.class_ids("train"))


def identifiers(classes: ClassIds) -> list[str]:
    """Return the identifiers of some classes, each once, sorted.

    Args:
        classes: The classes of a split, with their identifiers.
    """
    return sorted({one for ids in classes.values() for one in ids})


def count_trained(dataset: MetaDataset, name: str, trained: Collection[str], allowed: bool) -> int:
    """Count the classes of the test split that a run was trained on.

    Args:
        dataset: What is tested on.
        name: What messages call it.
        trained: The identifiers of the classes of the training split.
        allowed: Whether such classes may be tested on.

    Raises:
        ConfigError: Test classes were trained on, and that is not allowed.
    """
    classes = dataset.class_ids("test") if trained else {}
    found = classes_trained_on(classes, trained)
    if found and not allowed:
        raise ConfigError(
            f"dataset={name}: {_some(found, classes, 'test')} were trained on, such as {found[0]}, so "
            "this is not a test on new classes. Choose the split that the run was trained with, or give "
            "--allow-trained-classes (in Python: allow_trained_classes=True) to measure it nevertheless; their number "
            "is then printed beside the result."
        )
    return len(found)


def format_trained(
    class_ids: Callable[[Split], ClassIds], split: Split, name: str, weights: str, trained: Collection[str]
) -> str:
    """Return how many classes of a split some weights were trained on, as the start of a sentence.

    Args:
        class_ids: Gives the classes of a split with their identifiers.
        split: ``train``, ``val`` or ``test``.
        name: What messages call the dataset.
        weights: What messages call the weights, such as ``model.weights=outputs/RUN``.
        trained: The identifiers of the classes that the weights were trained on.

    Returns:
        ``WEIGHTS was trained on 2 of the 20 test classes of dataset=NAME, such as CLASS``; empty if on none.
    """
    classes = class_ids(split) if trained else {}
    found = classes_trained_on(classes, trained)
    return (
        f"{weights} was trained on {_some(found, classes, split)} of dataset={name}, such as {found[0]}"
        if found
        else ""
    )


def format_shared(class_ids: Callable[[Split], ClassIds], split: Split, name: str, trained: Collection[str]) -> str:
    """Return how many classes of a split are training classes of the same data, as the start of a sentence.

    Args:
        class_ids: Gives the classes of a split with their identifiers.
        split: ``val`` or ``test``.
        name: What messages call the dataset.
        trained: The identifiers of the training classes.

    Returns:
        ``dataset=NAME: 2 of the 20 test classes are training classes, too, such as CLASS``; empty if none are.
    """
    classes = class_ids(split) if trained else {}
    found = classes_trained_on(classes, trained)
    some = _some(found, classes, split)
    return f"dataset={name}: {some} are training classes, too, such as {found[0]}" if found else ""


def classes_trained_on(classes: ClassIds, trained: Collection[str]) -> list[str]:
    """Return the classes that are among those with some identifiers.

    Args:
        classes: The classes of a split, with their identifiers.
        trained: The identifiers of the classes that were trained on.
    """
    known = frozenset(trained)
    return [name for name, ids in classes.items() if ids & known]


def _some(found: Collection[str], classes: ClassIds, split: Split) -> str:
    kind = "validation" if split == "val" else split
    how_many = "all" if len(found) == len(classes) else f"{len(found)} of the"
    return f"{how_many} {len(classes)} {kind} classes"
