"""Finds examples that are twice in a task, tasks that are in two splits, and numbers too large to learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from metaexp.core.counted import agreeing, counted
from metaexp.core.shapes import SPLITS, Split
from metaexp.data.base import Progress

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Hashes = npt.NDArray[np.uint64]

_FEWEST: Final = 5
"""Different examples of a task that is compared with others. Tasks of few possible examples are equal by chance."""
_LARGE: Final = 100.0
"""The size of numbers, on average, from which networks learn badly. Standardised numbers are near 1."""
_APART: Final = 30.0
"""The error of one of two targets that differ so much in size is a thousandth of that of the other."""


def warn_of_repeats(
    hashes: Hashes, sizes: Mapping[str, int], splits: Mapping[Split, Sequence[str]], word: str, progress: Progress
) -> None:
    """Say how many examples are twice in their task, and how many tasks are in an earlier split under another name.

    Training examples that are twice in their task are not reported: they do little harm.

    Args:
        hashes: One number for each example (B,), ordered by task: see :func:`hash_examples`.
        sizes: Task -> its number of examples, in the order of the rows.
        splits: The tasks of each split.
        word: What messages call a task.
        progress: Receives a line for each kind of such examples in a split.
    """
    import numpy as np

    if len(np.unique(hashes)) == len(hashes):  # as in most data
        return
    parts = np.split(hashes, np.cumsum(list(sizes.values()))[:-1])
    distinct = {task: np.unique(part) for task, part in zip(sizes, parts, strict=True)}
    for i, split in enumerate(SPLITS):
        names = splits.get(split, ())
        n_examples = sum(sizes[name] for name in names)
        n_again = n_examples - sum(len(distinct[name]) for name in names)
        if n_again and split != "train":
            progress(
                f"Warning: the {split} split repeats {n_again:,} of its {counted(n_examples, 'example')} in their "
                f"{word}: all inputs and targets are equal. A query can then be an example of the support. Keep one of "
                "each, unless the same was measured more than once."
            )
        for earlier in SPLITS[:i]:
            twins = _twins({name: distinct[name] for name in names}, {n: distinct[n] for n in splits.get(earlier, ())})
            if twins:
                name, other = twins[0]
                progress(
                    f"Warning: {len(twins):,} of {counted(len(names), word)} of the {split} split "
                    f"{agreeing(len(twins), 'has')} at least half of the examples in one {word} of the {earlier} "
                    f"split, such as {name} in {other}. Numbers on them say little about new tasks; remove them from "
                    "one of the splits."
                )


def _twins(tasks: Mapping[str, Hashes], others: Mapping[str, Hashes]) -> list[tuple[str, str]]:
    """The tasks that have at least half of their different examples in one other task, and that task."""
    import numpy as np

    if not tasks or not others:
        return []
    names = list(others)
    known = np.concatenate(list(others.values()))
    owners = np.repeat(np.arange(len(names)), [len(part) for part in others.values()])
    order = np.argsort(known, kind="stable")
    known, owners = known[order], owners[order]
    found = []
    for name, own in tasks.items():
        first, last = (np.searchsorted(known, own, side=side) for side in ("left", "right"))
        if len(own) < _FEWEST or 2 * (last > first).sum() < len(own):
            continue
        shared = np.bincount(np.concatenate([owners[a:b] for a, b in zip(first, last, strict=True)]))
        if 2 * shared.max() >= len(own):
            found.append((name, names[int(shared.argmax())]))
    return found


def hash_examples(x: Floats, y: Floats) -> Hashes:
    """Return one number for each example (B,), which is equal for equal examples and for no others.

    Args:
        x: Inputs (B, ...).
        y: Targets (B, D_out).
    """
    import numpy as np

    hashes = np.zeros(len(x), np.uint64)
    for columns in (x.reshape(len(x), -1), y):
        for column in np.ascontiguousarray(columns.T).view(np.uint32):
            hashes = _mixed(hashes + column)
    return hashes


def _mixed(numbers: Hashes) -> Hashes:
    """Numbers as splitmix64 (Steele, Lea & Flood, 2014) mixes them."""
    import numpy as np

    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def warn_of_large_numbers(x: Floats, y: Floats, advice: Mapping[str, str], progress: Progress) -> None:
    """Say that numbers are too large to learn from, or that one target decides the error alone.

    Args:
        x: Inputs of the training tasks (B, D) or (B, L, D), as episodes have them.
        y: Targets of the training tasks (B, D_out).
        advice: What to give ``dataset.standardise`` for large ``inputs`` and for large ``targets``; what is missing is
            not looked at.
        progress: Receives a line for inputs and one for targets.
    """
    import numpy as np

    for what, values in {"inputs": x, "targets": y}.items():
        if what not in advice:
            continue
        columns = values.reshape(-1, values.shape[-1]).astype(np.float64)
        spreads = columns.std(0)
        least, most = spreads[spreads > 0].min(initial=np.inf), spreads.max()
        if np.sqrt((columns**2).mean(0)).max() > _LARGE:
            progress(
                f"Warning: {what} of the training tasks are up to {np.abs(columns).max():.3g}, and networks learn "
                f"badly from large numbers. dataset.standardise={advice[what]} brings each to mean 0 and standard "
                "deviation 1."
            )
        elif what == "targets" and most > _APART * least:
            progress(
                f"Warning: one target has a standard deviation of {most:.3g} and another one of {least:.3g} in the "
                "training tasks, so the mean squared error says nothing about the second. "
                f"dataset.standardise={advice[what]} gives all the same weight."
            )
