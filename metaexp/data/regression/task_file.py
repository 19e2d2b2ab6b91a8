"""A dataset of your own regression tasks in one file. Importing this module does not import torch."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from metaexp.core.errors import DataError
from metaexp.core.shapes import SPLITS, Capacity, Split
from metaexp.data.base import Dataset, Progress
from metaexp.data.classification.random_split import checked_fractions, split_by_fractions
from metaexp.data.files.alike_names import warn_of_alike_names
from metaexp.data.files.left_out import large_enough, only_these
from metaexp.data.files.locate import existing_path
from metaexp.data.inventory.card import OWN_FILE
from metaexp.data.inventory.sources import Sources, looked_for
from metaexp.data.regression.scales import Scales

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from metaexp.data.regression.table_file import TableContent
    from metaexp.data.regression.table_tasks import TableData

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]

Reader = Callable[[Path], "TableContent"]
"""Reads the examples of a file. Two readers are equal if they read the same."""


class TaskFile(Dataset):
    """Tasks whose examples are in one file. An episode is one task with K + Q different examples of it."""

    kind = "regression"
    card = OWN_FILE
    task_word: ClassVar[str] = "task"
    """What messages call a task."""
    standardise: str
    """What is brought to mean 0 and standard deviation 1; ``none`` for nothing."""
    standardise_for: ClassVar[Mapping[str, str]]
    """The value of ``standardise`` that helps against large ``inputs`` and against large ``targets``."""
    warns_of_repeats: ClassVar[bool] = True
    """Whether equal examples of a task are warned of."""
    content_words: ClassVar[str]
    """What a file must have, for the message that there is none."""
    target_steps = 1
    """How many times a target has the same columns one after another: once for each step of a forecast."""

    def __init__(self, file: str, fractions: list[float], split_seed: int, min_examples: int | None) -> None:
        """Describe the file.

        Args:
            file: The file: absolute, inside ``paths.data``, or beginning with ``~``.
            fractions: Parts of the tasks for train, val and test, where the file does not say.
            split_seed: Decides which tasks go where then.
            min_examples: Tasks with fewer examples are left out; None leaves out none.

        Raises:
            ConfigError: ``fractions`` are impossible.
        """
        self.file = file
        self.fractions = checked_fractions(fractions)
        self.split_seed = split_seed
        self.min_examples = min_examples

    @abstractmethod
    def reader(self) -> Reader:
        """Return what reads the file. It can be hashed."""

    @abstractmethod
    def prepared(self, x: Floats, y: Floats, train: npt.NDArray[np.bool_]) -> tuple[Floats, Floats, dict[str, Any]]:
        """Return inputs and targets as episodes have them, and the conventions that make them so.

        Args:
            x: Inputs (B, D) or (B, L, D).
            y: Targets (B, D_out).
            train: Which examples are of training tasks (B).
        """

    @abstractmethod
    def check_has_examples(self, task: str, path: Path) -> None:
        """Refuse a task without examples, where ``min_examples`` does not leave it out.

        Args:
            task: Its name.
            path: The file, for messages.

        Raises:
            DataError: The task has no examples.
        """

    def capacity(self) -> None:
        """Return None: only the file tells."""
        return

    def capacity_in(self, folder: Path) -> Mapping[Split, Capacity]:
        """Return the tasks of each split and the examples of the smallest one."""
        path = self._path(folder)
        state = path.stat()
        counts, named = _tasks(path, (state.st_mtime_ns, state.st_size), self.reader())
        sizes, splits = self._divided(counts, named, path, lambda _: None)
        return {split: Capacity(len(names), min(sizes[name] for name in names)) for split, names in splits.items()}

    def sources(self, folder: Path) -> Sources:
        """Return where the file is."""
        return looked_for(lambda: [self._path(folder)], "own files")

    def load(self, folder: Path, progress: Progress) -> TableData:
        """Read the file and order its examples by task."""
        import numpy as np
        import torch

        from metaexp.data.regression.suspect_tasks import (
            hash_examples,
            warn_of_equal_targets,
            warn_of_given_targets,
            warn_of_large_numbers,
            warn_of_repeats,
            warn_of_twins,
        )
        from metaexp.data.regression.table_tasks import TableData

        path = self._path(folder)
        progress(f"Reading {path}.")
        content = self.reader()(path)
        for line in content.notes:
            progress(line)
        sizes, splits = self._divided(_counts(content), content.splits, path, progress)
        warn_of_alike_names(sizes, self.task_word, path, progress)
        place = {task: number for number, task in enumerate(sizes)}
        kept = np.array([number for number, task in enumerate(content.tasks) if task in place])
        order = kept[np.argsort([place[content.tasks[number]] for number in kept], kind="stable")]
        train = np.isin([content.tasks[number] for number in order], splits["train"])
        hashes = hash_examples(content.x[order], content.y[order])
        if self.warns_of_repeats:
            warn_of_repeats(hashes, sizes, splits, progress)
        inputs = hash_examples(content.x[order], content.y[order, :0])
        warn_of_twins(hashes, inputs, sizes, splits, self.task_word, progress)
        x, y, conventions = self.prepared(content.x[order], content.y[order], train)
        helps = {what: value for what, value in self.standardise_for.items() if value != self.standardise}
        warn_of_equal_targets(y[train], progress)
        given = order[train]
        warn_of_given_targets(content.x[given], content.y[given], content.inputs, content.targets, progress)
        warn_of_large_numbers(x[train], y[train], helps, progress)
        values = torch.from_numpy(x), torch.from_numpy(y)
        return TableData(path.stem, *values, sizes, splits, conventions, content.forecast)

    def scales(self, folder: Path, progress: Progress) -> Scales | None:
        """Return means and deviations of the training tasks; None without ``standardise``."""
        if self.standardise == "none":
            return None
        import numpy as np

        data = self.load(folder, progress)

        def of(name: str, repeats: int) -> tuple[Doubles, Doubles] | None:
            found = data.conventions.get(name)
            return found and (np.tile(found["mean"], repeats), np.tile(found["std"], repeats))

        return Scales(of("x", 1), of("y", self.target_steps), data.digest)

    def _path(self, folder: Path) -> Path:
        give = f"Give a CSV or .npz file, absolute or inside paths.data, with {self.content_words}."
        return existing_path(folder, "dataset.file", self.file, kind="file", give=give)

    def _divided(
        self, counts: Mapping[str, int], named: Mapping[Split, list[str]] | None, path: Path, progress: Progress
    ) -> tuple[dict[str, int], dict[Split, list[str]]]:
        """Task -> its number of examples, sorted, and the tasks of each split; small ones are left out of both."""
        if self.min_examples is None:
            for task in sorted(task for task, count in counts.items() if not count):
                self.check_has_examples(task, path)
        sizes = large_enough(
            dict(sorted(counts.items())), self.min_examples, "min_examples", self.task_word, path, progress
        )
        if named is None:
            if len(sizes) < len(SPLITS):
                raise DataError(
                    f"{path} has {len(sizes)} tasks, which cannot be divided into train, val and test. A task is one "
                    "function or series; give each example the name of its own."
                )
            return sizes, split_by_fractions(sizes, self.fractions, self.split_seed)
        return sizes, only_these(sizes, named, f"dataset.min_examples={self.min_examples}", path)


def standardised(values: Floats, like: Floats) -> tuple[Floats, dict[str, list[float]]]:
    """Return values (B, ..., D) less the mean and divided by the deviation of each of D columns.

    Args:
        values: What is changed.
        like: The values (A, ..., D) whose mean and deviation are taken. A constant column is divided by 1.
    """
    import numpy as np

    columns = like.reshape(-1, values.shape[-1]).astype(np.float64)
    mean, std = columns.mean(0), columns.std(0)
    std = np.where(std > 0, std, 1.0)
    return ((values - mean) / std).astype(np.float32), {"mean": mean.tolist(), "std": std.tolist()}


@lru_cache(maxsize=8)
def _tasks(path: Path, _state: tuple[int, int], reader: Reader) -> tuple[Counter[str], dict[Split, list[str]] | None]:
    """The examples of each task, and the tasks of each split. All jobs of a sweep ask for these."""
    content = reader(path)
    return _counts(content), content.splits


def _counts(content: TableContent) -> Counter[str]:
    counts = Counter(content.tasks)
    counts.update(dict.fromkeys(content.without, 0))
    return counts
