"""Classes without a published split, divided by seed. Importing this module does not import torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from metaexp.core.counted import counted
from metaexp.core.errors import ConfigError, DataError
from metaexp.core.shapes import SPLITS, Split


def checked_fractions(fractions: list[float]) -> tuple[float, float, float]:
    """Check the parts of the classes for train, val and test.

    Args:
        fractions: Three positive numbers that add up to 1.

    Raises:
        ConfigError: They are not three such numbers.
    """
    numbers = [float(f) for f in fractions]
    if len(numbers) != 3 or not all(f > 0 for f in numbers) or abs(sum(numbers) - 1.0) > 1e-6:
        raise ConfigError(
            f"dataset.fractions={fractions} must be three positive numbers that add up to 1: "
            "the parts of the classes for train, val and test."
        )
    return numbers[0], numbers[1], numbers[2]


def split_by_fractions(
    names: Iterable[str], fractions: tuple[float, float, float], seed: int
) -> dict[Split, list[str]]:
    """Divide classes between the splits.

    Classes are ranked by a hash of seed and name, so the split does not depend on the order of files, and a new
    class moves few of the others.

    Args:
        names: The classes.
        fractions: The parts for train, val and test.
        seed: Other seeds give other splits.

    Returns:
        The classes of each split, sorted, at least one for each.

    Raises:
        DataError: There are fewer than three classes.
    """
    ranked = sorted(
        set(names), key=lambda name: hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogateescape")).digest()
    )
    if len(ranked) < 3:
        which = f" ({', '.join(sorted(ranked))})" if ranked else ""
        raise DataError(
            f"{counted(len(ranked), 'class')}{which} cannot be divided into train, val and test. Each needs one "
            "at least: give data of three classes or more, and for 5-way tasks of 15 or more."
        )
    val = max(1, round(fractions[1] * len(ranked)))
    test = max(1, round(fractions[2] * len(ranked)))
    train = max(1, len(ranked) - val - test)
    val = min(val, len(ranked) - train - 1)
    parts: Mapping[Split, list[str]] = {
        "train": ranked[:train],
        "val": ranked[train : train + val],
        "test": ranked[train + val :],
    }
    return {split: sorted(parts[split]) for split in SPLITS}
