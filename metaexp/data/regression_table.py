"""Your own regression tasks, in a CSV or .npz file. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from metaexp.core.fields import NonNegativeInt, PositiveInt
from metaexp.data.regression.task_file import Reader, TaskFile, standardised

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from metaexp.data.regression.table_file import TableContent

    Floats = npt.NDArray[np.float32]


class RegressionTable(TaskFile):
    """Inputs, targets and the task of each example, from a CSV or .npz file.

    A CSV has a header: ``task``, the inputs ``x`` (or ``x0``, ``x1``, ...), the targets ``y`` (or ``y0``, ``y1``,
    ...), and ``split`` (train, val or test) where the file divides the tasks; all but ``split`` may have other names.
    An .npz has the arrays ``x``: (B), (B, D) or (B, L, D), sequences of L steps; ``y``: (B) or (B, D_out); ``task``:
    (B), whole numbers or text; and ``split`` (B) where it divides the tasks. An episode is one task with K + Q
    different examples of it.
    """

    standardise_for: ClassVar[Mapping[str, str]] = {"inputs": "inputs", "targets": "both"}
    content_words = "a task, inputs x and targets y for each example"

    def __init__(
        self,
        file: str,
        fractions: list[float],
        split_seed: NonNegativeInt,
        inputs: list[str] | None = None,
        targets: list[str] | None = None,
        min_examples: PositiveInt | None = None,
        standardise: Literal["none", "inputs", "both"] = "none",
        task: str | None = None,
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
            task: The column of the task in a CSV; None for task.

        Raises:
            ConfigError: ``fractions`` are impossible.
        """
        super().__init__(file, fractions, split_seed, min_examples)
        self.inputs = inputs
        self.targets = targets
        self.standardise = standardise
        self.task = task

    def reader(self) -> Reader:
        """Return what reads the columns that were named."""
        inputs, targets = (None if names is None else tuple(names) for names in (self.inputs, self.targets))
        return _Columns(inputs, targets, self.task)

    def prepared(self, x: Floats, y: Floats, train: npt.NDArray[np.bool_]) -> tuple[Floats, Floats, dict[str, Any]]:
        """Standardise inputs and targets by the training tasks, as far as ``standardise`` says."""
        conventions: dict[str, Any] = {"standardise": self.standardise}
        if self.standardise != "none":
            x, conventions["x"] = standardised(x, x[train])
        if self.standardise == "both":
            y, conventions["y"] = standardised(y, y[train])
        return x, y, conventions

    def check_has_examples(self, task: str, path: Path) -> None:
        """Do nothing: a task is known by its examples, so it has some."""


@dataclass(frozen=True)
class _Columns:
    """Reads tasks, inputs and targets from a file."""

    inputs: tuple[str, ...] | None
    targets: tuple[str, ...] | None
    task: str | None

    def __call__(self, path: Path) -> TableContent:
        from metaexp.data.regression.table_file import read_table

        return read_table(path, self.inputs, self.targets, self.task)
