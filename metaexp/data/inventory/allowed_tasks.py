"""Which tasks a loaded dataset allows, whether those of the configuration are among them, and which are if not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from metaexp.core.counted import listed
from metaexp.core.fit.advice import Changes
from metaexp.core.fit.task_fit import DataFacts, Tasks, fit_problems, format_shape
from metaexp.core.shapes import Capacity, FixedBank, Split, TaskShape
from metaexp.data.base import Dataset, MetaDataset
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.regression.table_tasks import TableData

_NAMED: Final = 5


class Request(NamedTuple):
    """What a configuration asks of a dataset.

    Attributes:
        name: What messages call the dataset.
        train: The shape of its training tasks.
        task: The shape of its validation and test tasks.
        changes: What the dataset would hold if keys of its section had other values.
    """

    name: str
    train: TaskShape
    task: TaskShape
    changes: Changes = Changes()


class Allowed(NamedTuple):
    """What a dataset allows.

    Attributes:
        lines: What to print of it.
        words: Overrides with which it can be trained on, none where it fits as it is; None where nothing helps.
    """

    lines: list[str]
    words: list[str] | None


def allowed_tasks(dataset: Dataset, loaded: MetaDataset, folder: Path, request: Request) -> Allowed:
    """Say which tasks a dataset allows.

    Args:
        dataset: Its description.
        loaded: The dataset, loaded.
        folder: ``paths.data``.
        request: The tasks of the configuration.
    """
    capacity, bank = loaded.capacity(), dataset.fixed_bank(folder)
    if bank is not None:
        return _of_fixed(bank, capacity or {}, request)
    if not capacity:
        return Allowed([], [])
    largest = Capacity(min(c.n_classes for c in capacity.values()), min(c.per_class for c in capacity.values()))
    lines = [_format_largest(loaded.kind, largest)]
    facts = DataFacts(request.name, loaded.kind, capacity, changes=request.changes)
    problems = fit_problems(facts, None, Tasks(request.train, request.task, tuple(capacity)))
    if not problems:
        return Allowed(lines, [])
    found = ["The tasks that are asked for do not fit:", *(f"  {problem}" for problem in problems)]
    found += _small_ones(loaded, max(shape.k_shot + shape.n_query for shape in (request.train, request.task)))
    if loaded.kind == "classification" and largest.n_classes < 2:
        return Allowed([*found, "No task fits: each split needs two classes or more."], None)
    if largest.per_class < 2:
        group = "class" if loaded.kind == "classification" else "task"
        return Allowed([*found, f"With these, no task fits: each {group} needs two examples or more."], None)
    words = list(_smaller(capacity, request))
    return Allowed([*lines, *found, f"These fit: {' '.join(words)}"], words)


def _of_fixed(bank: FixedBank, capacity: Mapping[Split, Capacity], request: Request) -> Allowed:
    """Return what a dataset allows whose test episodes are fixed."""
    n, shape = bank.n_episodes, bank.shape
    lines = [f"  test episodes: {n}, fixed, {format_shape(shape)}"]
    words = [f"task.{key}={value}" for key, value in shape._asdict().items() if value != getattr(request.task, key)]
    words.append(f"eval.episodes={n}")
    if "train" in capacity:
        return Allowed(lines, words)
    lines.append(f"Test a finished run on them: metaexp evaluate RUN, with this dataset and {' '.join(words)}")
    return Allowed(lines, None)


def _format_largest(kind: str, largest: Capacity) -> str:
    together = f"up to {largest.per_class} examples of a"
    if kind == "regression":
        return f"  tasks: {together} task, shots and queries together"
    return f"  tasks: up to {largest.n_classes} ways, {together} class, shots and queries together"


def _smaller(capacity: Mapping[Split, Capacity], request: Request) -> Iterator[str]:
    """The overrides that make the tasks small enough. Training tasks follow the test's, unless they were set apart."""
    for section, shape in (("task", request.task), ("train", request.train)):
        alike = request.train == request.task
        if section == "train" and alike:
            return
        sizes = [c for split, c in capacity.items() if alike or (split == "train") == (section == "train")]
        if not sizes:
            continue
        per_class = min(size.per_class for size in sizes)
        n_way = min(shape.n_way, *(size.n_classes for size in sizes))
        k_shot = max(1, min(shape.k_shot, per_class - 1))
        wanted = TaskShape(n_way, k_shot, max(1, min(shape.n_query, per_class - k_shot)))
        for key, value in wanted._asdict().items():
            if value != getattr(shape, key):
                yield f"{section}.{key}={value}"


def _small_ones(loaded: MetaDataset, needed: int) -> Iterator[str]:
    """Name the classes or tasks that have fewer examples than ``needed``, unless all have."""
    if not isinstance(loaded, ClassDataset | TableData):
        return
    sizes: dict[str, int] = {}
    for split in loaded.capacity():
        names = (loaded.class_names if isinstance(loaded, ClassDataset) else loaded.task_names)[split]
        table = loaded.table(split)
        sizes |= {names[i % len(names)]: n for i, n in enumerate(table.length.tolist())}
    small = sorted((n, name) for name, n in sizes.items() if n < needed)
    if not small or len(small) == len(sizes):
        return
    named = listed([f"{name} ({n})" for n, name in small], _NAMED, more="others")
    yield f"Fewer than {needed} examples: {named}."
