"""Your own regression tasks, in a CSV or .npz file. Importing this module does not import torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metaexp.core.errors import DataError, MissingDataError
from metaexp.core.fields import NonNegativeInt, PositiveInt
from metaexp.core.shapes import SPLITS, Capacity, Split
from metaexp.data.base import Dataset, MetaDataset, Progress
from metaexp.data.classification.random_split import checked_fractions, split_by_fractions
from metaexp.data.files.locate import named_path
from metaexp.data.inventory.card import OWN_FILE
from metaexp.data.inventory.sources import Sources, looked_for
from metaexp.data.left_out import large_enough, only_these

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]


class RegressionTable(Dataset):
    """Inputs, targets and the task of each example, from a CSV or .npz file.

    A CSV has a header: ``task``, the inputs ``x`` (or ``x0``, ``x1``, ...), the targets ``y`` (or ``y0``, ``y1``,
    ...), and ``split`` (train, val or test) where the file divides the tasks. An .npz has the arrays ``x``: (B), (B,
    D) or (B, L, D), sequences of L steps; ``y``: (B) or (B, D_out); ``task``: (B), whole numbers or text; and
    ``split`` (B) where it divides the tasks. An episode is one task with K + Q different examples of it.
    """

    kind = "regression"
    card = OWN_FILE

    def __init__(
        self,
        file: str,
        fractions: list[float],
        split_seed: NonNegativeInt,
        inputs: list[str] | None = None,
        targets: list[str] | None = None,
        min_examples: PositiveInt | None = None,
        standardise: Literal["none", "inputs", "both"] = "none",
    ) -> None:
        """Describe the file.

        Args:
            file: The file: absolute, inside ``paths.data``, or beginning with ``~``.
            fractions: Parts of the tasks for train, val and test, where the file does not say.
            split_seed: Decides which tasks go where then.
            inputs: The columns of x in a CSV; None for x, or x0, x1, ...
            targets: The columns of y in a CSV; None for y, or y0, y1, ...
            min_examples: Tasks with fewer examples are left out; None leaves out none.
            standardise: Whether each input, or each input and each target, is brought to mean 0 and standard
                deviation 1 over the examples of the training tasks. Errors are in these units then.

        Raises:
            ConfigError: ``fractions`` are impossible.
        """
        self.file = file
        self.fractions = checked_fractions(fractions)
        self.split_seed = split_seed
        self.inputs = inputs
        self.targets = targets
        self.min_examples = min_examples
        self.standardise = standardise

    def capacity(self) -> None:
        """Return None: only the file tells."""
        return

    def capacity_in(self, folder: Path) -> Mapping[Split, Capacity]:
        """Return the tasks of each split and the examples of the smallest one."""
        path = self._path(folder)
        state = path.stat()
        inputs, targets = (None if names is None else tuple(names) for names in (self.inputs, self.targets))
        counts, named = _tasks(path, (state.st_mtime_ns, state.st_size), inputs, targets)
        sizes, splits = self._divided(counts, named, path, lambda _: None)
        return {split: Capacity(len(names), min(sizes[name] for name in names)) for split, names in splits.items()}

    def sources(self, folder: Path) -> Sources:
        """Return where the file is."""
        return looked_for(lambda: [self._path(folder)], "own files")

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        """Read the file and order its examples by task."""
        import numpy as np
        import torch

        from metaexp.data.regression.table_file import read_table
        from metaexp.data.regression.table_tasks import TableData

        path = self._path(folder)
        progress(f"Reading {path}.")
        content = read_table(path, self.inputs, self.targets)
        sizes, splits = self._divided(Counter(content.tasks), content.splits, path, progress)
        place = {task: number for number, task in enumerate(sizes)}
        kept = np.array([number for number, task in enumerate(content.tasks) if task in place])
        order = kept[np.argsort([place[content.tasks[number]] for number in kept], kind="stable")]
        x, y = content.x[order], content.y[order]
        train = np.isin([content.tasks[number] for number in order], splits["train"])
        conventions: dict[str, Any] = {"standardise": self.standardise}
        if self.standardise != "none":
            x, conventions["x"] = _standardised(x, train)
        if self.standardise == "both":
            y, conventions["y"] = _standardised(y, train)
        return TableData(path.stem, torch.from_numpy(x), torch.from_numpy(y), sizes, splits, conventions)

    def _path(self, folder: Path) -> Path:
        path = named_path(folder, "dataset.file", self.file)
        if not path.is_file():
            raise MissingDataError(
                f"dataset.file={self.file}: there is no file {path.absolute()}. Give a CSV or .npz file, absolute or "
                "inside paths.data, with a task, inputs x and targets y for each example."
            )
        return path

    def _divided(
        self, counts: Mapping[str, int], named: Mapping[Split, list[str]] | None, path: Path, progress: Progress
    ) -> tuple[dict[str, int], dict[Split, list[str]]]:
        """Task -> its number of examples, sorted, and the tasks of each split; small ones are left out of both."""
        sizes = large_enough(dict(sorted(counts.items())), self.min_examples, "min_examples", "task", path, progress)
        if named is None:
            if len(sizes) < len(SPLITS):
                raise DataError(
                    f"{path} has {len(sizes)} tasks, which cannot be divided into train, val and test. A task is one "
                    "function or series; give each example the name of its own."
                )
            return sizes, split_by_fractions(sizes, self.fractions, self.split_seed)
        return sizes, only_these(sizes, named, f"dataset.min_examples={self.min_examples}", path)


@lru_cache(maxsize=8)
def _tasks(
    path: Path, _state: tuple[int, int], inputs: tuple[str, ...] | None, targets: tuple[str, ...] | None
) -> tuple[Counter[str], dict[Split, list[str]] | None]:
    """The examples of each task, and the tasks of each split. All jobs of a sweep ask for these."""
    from metaexp.data.regression.table_file import read_table

    content = read_table(path, inputs, targets)
    return Counter(content.tasks), content.splits


def _standardised(values: Floats, train: npt.NDArray[np.bool_]) -> tuple[Floats, dict[str, list[float]]]:
    """Values (B, ..., D) with mean 0 and deviation 1 in each of D columns over the training rows; a constant stays."""
    import numpy as np

    columns = values[train].reshape(-1, values.shape[-1]).astype(np.float64)
    mean, std = columns.mean(0), columns.std(0)
    std = np.where(std > 0, std, 1.0)
    return ((values - mean) / std).astype(np.float32), {"mean": mean.tolist(), "std": std.tolist()}
