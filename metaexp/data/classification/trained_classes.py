"""Which classes of a test were in training: by their names in a dataset, and by their examples."""

from __future__ import annotations

from collections.abc import Collection

from metaexp.core.errors import ConfigError
from metaexp.core.shapes import Split
from metaexp.data.base import MetaDataset


def all_class_ids(dataset: MetaDataset, split: Split) -> list[str]:
    """Return the identifiers of all classes of a split, sorted; none in regression.

    Args:
        dataset: The loaded dataset.
        split: ``train``, ``val`` or ``test``.
    """
    return sorted({identifier for ids in dataset.class_ids(split).values() for identifier in ids})


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
    known = frozenset(trained)
    classes = dataset.class_ids("test")
    found = [c for c, ids in classes.items() if ids & known]
    if found and not allowed:
        raise ConfigError(
            f"dataset={name}: {len(found)} of the {len(classes)} test classes were trained on, such as {found[0]}, so "
            "this is not a test on new classes. Choose the split that the run was trained with, or give "
            "--allow-trained-classes to measure it nevertheless; their number is then printed beside the result."
        )
    return len(found)
