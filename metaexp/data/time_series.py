"""Your own time series, in a CSV or .npz file. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from metaexp.core.errors import DataError
from metaexp.core.fields import NonNegativeInt, PositiveInt
from metaexp.data.regression.task_file import Reader, TaskFile, standardised

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from metaexp.data.regression.table_file import TableContent

    Floats = npt.NDArray[np.float32]


class TimeSeries(TaskFile):
    """Time series cut into windows: the values of ``length`` steps are given, those of the next ``horizon`` asked for.

    A CSV has a header and a line for each step of each series: ``series``, the name; ``time`` if the lines are not in
    order; ``split`` (train, val or test) where the file divides the series; and one column or more of values. An
    .npz has the arrays ``series`` (B), ``values`` (B) or (B, D), and ``time`` (B) and ``split`` (B) where they are
    needed. A value that is missing is empty or nan; no window has one. A task is one series, and its examples are its
    windows: x (length, D), and y (horizon * D_out), step by step.
    """

    standardise_for: ClassVar[Mapping[str, str]] = {"inputs": "values", "targets": "values"}
    task_word = "series"
    warns_of_repeats = False  # where values stay the same or come again, so do windows
    content_words = "the name of the series and the values of each step"

    def __init__(
        self,
        file: str,
        length: PositiveInt,
        horizon: PositiveInt,
        fractions: list[float],
        split_seed: NonNegativeInt,
        stride: PositiveInt | None = None,
        values: list[str] | None = None,
        targets: list[str] | None = None,
        min_examples: PositiveInt | None = None,
        standardise: Literal["none", "values"] = "none",
        series: str | None = None,
        time: str | None = None,
    ) -> None:
        """Describe the file and the windows.

        Args:
            file: The file: absolute, inside ``paths.data``, or beginning with ``~``.
            length: Steps that are given.
            horizon: Steps that are asked for.
            fractions: Parts of the series for train, val and test, where the file does not say.
            split_seed: Decides which series go where then.
            stride: Steps from the start of a window to that of the next. None for length + horizon: no two windows
                share a value then, so the support set does not hold what is asked for of the query set.
            values: The columns of values in a CSV; None for all but those of the series, the time and ``split``.
            targets: Those of them that are forecast; None for all.
            min_examples: Series with fewer windows are left out; None leaves out none.
            standardise: Whether each column of values is brought to mean 0 and standard deviation 1 over the
                inputs of the training series. Errors are in these units then.
            series: The column with the name of the series in a CSV; None for series.
            time: The column of times in a CSV; None for time, if there is one.

        Raises:
            ConfigError: ``fractions`` are impossible.
        """
        super().__init__(file, fractions, split_seed, min_examples)
        self.length = length
        self.horizon = self.target_steps = horizon
        self.stride = stride
        self.values = values
        self.targets = targets
        self.standardise = standardise
        self.series = series
        self.time = time

    def reader(self) -> Reader:
        """Return what reads the file and cuts its series into windows."""
        values, targets = (None if names is None else tuple(names) for names in (self.values, self.targets))
        stride = self.stride or self.length + self.horizon
        return _Windows(values, targets, self.series, self.time, self.length, self.horizon, stride)

    def prepared(self, x: Floats, y: Floats, train: npt.NDArray[np.bool_]) -> tuple[Floats, Floats, dict[str, Any]]:
        """Standardise each column of values, in inputs and targets alike."""
        if self.standardise == "none":
            return x, y, {"standardise": "none"}
        deviations = y.reshape(len(y), self.horizon, -1)
        x, of_inputs = standardised(x, x[train])
        deviations, of_targets = standardised(deviations, deviations[train])
        return x, deviations.reshape(y.shape), {"standardise": "values", "x": of_inputs, "y": of_targets}

    def check_has_examples(self, task: str, path: Path) -> None:
        """Raise DataError: the series is too short, or has too many missing values, for a window."""
        raise DataError(
            f"{path}: series {task} has no window of dataset.length={self.length} and "
            f"dataset.horizon={self.horizon} without a missing value. Lower these, or leave out such "
            "series with dataset.min_examples=1."
        )


@dataclass(frozen=True)
class _Windows:
    """Reads the series of a file and cuts them into windows."""

    values: tuple[str, ...] | None
    targets: tuple[str, ...] | None
    series: str | None
    time: str | None
    length: int
    horizon: int
    stride: int

    def __call__(self, path: Path) -> TableContent:
        from metaexp.data.regression.series_file import read_series
        from metaexp.data.regression.windows import windows

        content = read_series(path, self.values, self.targets, self.series, self.time)
        return windows(content, self.length, self.horizon, self.stride, path)
