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
    found = among(dataset, "test", trained)
    if found and not allowed:
        raise ConfigError(
            f"dataset={name}: {_some(found, dataset, 'test')} were trained on, such as {found[0]}, so "
            "this is not a test on new classes. Choose the split that the run was trained with, or give "
            "--allow-trained-classes to measure it nevertheless; their number is then printed beside the result."
        )
    return len(found)


def check_initial(dataset: MetaDataset, name: str, start: str, trained: Collection[str], tested: bool) -> str | None:
    """Check that a run which starts from weights of another run will be tested on classes that are new to both.

    Args:
        dataset: What the run trains and is tested on.
        name: What messages call it.
        start: Where the run starts, such as ``model.weights=outputs/RUN``.
        trained: The identifiers of the classes that the weights were trained on.
        tested: Whether the run will be tested.

    Returns:
        A warning where validation classes were trained on; None where none was.

    Raises:
        ConfigError: Test classes were trained on, and the run is to be tested.
    """
    found = among(dataset, "test", trained)
    if found and tested:
        raise ConfigError(
            f"{start} was trained on {_some(found, dataset, 'test')} of dataset={name}, such as "
            f"{found[0]}, so its test would not be one on new classes. Choose the split that these weights were "
            "trained with. To measure it nevertheless, set eval.test=false and then give `metaexp evaluate` "
            "--allow-trained-classes; the number of such classes is printed beside the result."
        )
    found = among(dataset, "val", trained)
    if not found:
        return None
    return (
        f"warning: {start} was trained on {_some(found, dataset, 'val')} of dataset={name}, such as "
        f"{found[0]}, so validation looks better than it would on new classes."
    )


def among(dataset: MetaDataset, split: Split, trained: Collection[str]) -> list[str]:
    """Return the classes of a split that are among those with some identifiers.

    Args:
        dataset: The loaded dataset.
        split: ``train``, ``val`` or ``test``.
        trained: The identifiers of the classes that were trained on.
    """
    known = frozenset(trained)
    if not known:
        return []
    return [c for c, ids in dataset.class_ids(split).items() if ids & known]


def _some(found: Collection[str], dataset: MetaDataset, split: Split) -> str:
    kind = "validation" if split == "val" else split
    return f"{len(found)} of the {len(dataset.class_ids(split))} {kind} classes"
