"""Finds examples that are twice in a task, tasks that are in two splits, constants, and numbers too large to learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from metaexp.core.counted import agreeing, counted, listed
from metaexp.core.shapes import SPLITS, Split
from metaexp.data.base import Progress
from metaexp.data.values.large_numbers import format_large

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Hashes = npt.NDArray[np.uint64]

_FEWEST: Final = 5
_MOST_TASKS: Final = 3
_LEAST_EQUAL: Final = 0.95
"""Tasks of few possible examples are equal by chance. So only tasks with so many different examples are compared,
examples in more than so many tasks do not count, and of inputs in both tasks so many or more have equal targets."""
_FEWEST_GIVEN: Final = 10
"""In fewer examples, whole numbers can be equal by chance."""
_APART: Final = 30.0
"""The error of one of two targets that differ so much in size is a thousandth of that of the other."""


def warn_of_repeats(
    hashes: Hashes, sizes: Mapping[str, int], splits: Mapping[Split, Sequence[str]], progress: Progress
) -> None:
    """Say how many examples are twice in their task.

    Training examples that are twice in their task are not reported: they do little harm.

    Args:
        hashes: One number for each example (B,), ordered by task: see :func:`hash_examples`.
        sizes: Task -> its number of examples, in the order of the rows.
        splits: The tasks of each split.
        progress: Receives a line for each split with such examples.
    """
    import numpy as np

    if len(np.unique(hashes)) == len(hashes):  # as in most data
        return
    n_distinct = {task: len(np.unique(part)) for task, part in _parts(hashes, sizes).items()}
    for split in SPLITS[1:]:
        names = splits.get(split, ())
        n_examples = sum(sizes[name] for name in names)
        n_again = n_examples - sum(n_distinct[name] for name in names)
        if n_again:
            progress(
                f"Warning: the {split} split repeats {n_again:,} of its {counted(n_examples, 'example')} in their "
                "task: all inputs and targets are equal. A query can then be an example of the support. Keep one of "
                "each, unless the same was measured more than once."
            )


def warn_of_twins(
    hashes: Hashes,
    inputs: Hashes,
    sizes: Mapping[str, int],
    splits: Mapping[Split, Sequence[str]],
    word: str,
    progress: Progress,
) -> None:
    """Say how many tasks are in an earlier split under another name.

    Args:
        hashes: One number for each example (B,), ordered by task: see :func:`hash_examples`.
        inputs: One number for the inputs of each example (B,).
        sizes: Task -> its number of examples, in the order of the rows.
        splits: The tasks of each split.
        word: What messages call a task.
        progress: Receives a line for two splits with such tasks.
    """
    import numpy as np

    if len(np.unique(hashes)) == len(hashes):  # as in most data
        return
    examples, inputs_of = _parts(hashes, sizes), _parts(inputs, sizes)
    rare = {task: np.unique(part) for task, part in examples.items()}
    known, counts = np.unique(np.concatenate(list(rare.values())), return_counts=True)
    common = known[counts > _MOST_TASKS]
    rare = {task: own[~np.isin(own, common)] for task, own in rare.items()}

    def is_twin(task: str, other: str, n_shared: int) -> bool:
        if not _FEWEST <= len(np.unique(examples[task])) <= 2 * n_shared:
            return False
        n_equal = np.isin(examples[task], examples[other]).sum()
        return bool(n_equal >= _LEAST_EQUAL * np.isin(inputs_of[task], inputs_of[other]).sum())

    for i, split in enumerate(SPLITS):
        names = splits.get(split, ())
        own = {name: rare[name] for name in names}
        for earlier in SPLITS[:i]:
            found = _similar(own, {name: rare[name] for name in splits.get(earlier, ())})
            twins = [(name, other) for name, other, n_shared in found if is_twin(name, other, n_shared)]
            if twins:
                name, other = twins[0]
                progress(
                    f"Warning: {len(twins):,} of {counted(len(names), word)} of the {split} split "
                    f"{agreeing(len(twins), 'has')} at least half of the examples in one {word} of the {earlier} "
                    f"split, such as {name} in {other}. Numbers on them say little about new tasks; remove them from "
                    "one of the splits."
                )


def _parts(hashes: Hashes, sizes: Mapping[str, int]) -> dict[str, Hashes]:
    """Task -> its part of ``hashes`` (B,)."""
    import numpy as np

    return dict(zip(sizes, np.split(hashes, np.cumsum(list(sizes.values()))[:-1]), strict=True))


def _similar(tasks: Mapping[str, Hashes], others: Mapping[str, Hashes]) -> list[tuple[str, str, int]]:
    """Each task with some examples in others, the one that has most of these, and how many that are."""
    import numpy as np

    names = list(others)
    known = np.concatenate([np.zeros(0, np.uint64), *others.values()])
    owners = np.repeat(np.arange(len(names)), [len(part) for part in others.values()])
    order = np.argsort(known, kind="stable")
    known, owners = known[order], owners[order]
    found = []
    for name, own in tasks.items():
        first, last = (np.searchsorted(known, own, side=side) for side in ("left", "right"))
        if (last > first).any():
            shared = np.bincount(np.concatenate([owners[a:b] for a, b in zip(first, last, strict=True)]))
            found.append((name, names[int(shared.argmax())], int(shared.max())))
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


def warn_of_equal_targets(y: Floats, progress: Progress) -> None:
    """Say that all examples have the same targets, so that an error says nothing about learning.

    Args:
        y: Targets of the training tasks (B, D_out).
        progress: Receives a line if they are the same.
    """
    if len(y) > 1 and bool((y == y[0]).all()):
        progress(
            f"Warning: all {counted(len(y), 'example')} of the training tasks have the same targets, so that an error "
            "near 0 says nothing. Look at the file: other columns or arrays may be the ones to read."
        )


def warn_of_given_targets(
    x: Floats, y: Floats, inputs: Sequence[str], targets: Sequence[str], progress: Progress
) -> None:
    """Say that an input is equal to a target in all examples, so that the network is given what it is asked for.

    Args:
        x: Inputs of the training tasks (B, D) or (B, L, D), as the file has them.
        y: Targets of the training tasks (B, D_out), as the file has them.
        inputs: The names of the inputs (D).
        targets: The names of the targets (D_out).
        progress: Receives a line that names them.
    """
    columns = x.reshape(len(x), -1)
    if len(y) < _FEWEST_GIVEN:
        return
    found = []
    for number, target in enumerate(y.T):
        if (target == target[0]).all():  # said by warn_of_equal_targets, and equal to other constants by chance
            continue
        likely = (columns[:_FEWEST_GIVEN] == target[:_FEWEST_GIVEN, None]).all(0).nonzero()[0]
        places = [int(place) for place in likely if (columns[:, place] == target).all()]
        found += [f"{_name_input(place, x.shape, inputs)} equals {targets[number]}" for place in places]
    if found:
        progress(
            f"Warning: in all {counted(len(y), 'example')} of the training tasks an input is a target: "
            f"{listed(found, _MOST_TASKS, mark='; ')}. An error near 0 then says nothing, because the network is given "
            "what it is asked for. Leave such columns out of the inputs."
        )


def _name_input(place: int, shape: Sequence[int], inputs: Sequence[str]) -> str:
    """What messages call a column of inputs (B, D) or (B, L, D): its name, and in sequences its step."""
    step, column = divmod(place, shape[-1])
    return f"{inputs[column]} of step {step + 1:,}" if len(shape) > 2 else inputs[column]


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
        large = format_large(
            f"{what} of the training tasks",
            (columns**2).mean(0).max(),
            np.abs(columns).max(),
            f"dataset.standardise={advice[what]} brings each to mean 0 and standard deviation 1.",
        )
        if large:
            progress(large)
        elif what == "targets" and most > _APART * least:
            progress(
                f"Warning: one target has a standard deviation of {most:.3g} and another one of {least:.3g} in the "
                "training tasks, so the mean squared error says nothing about the second. "
                f"dataset.standardise={advice[what]} gives all the same weight."
            )
