"""Cuts time series into windows: what is given, and what follows. Without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from metaexp.core.counted import counted
from metaexp.core.errors import DataError
from metaexp.data.regression.series_file import SeriesContent
from metaexp.data.regression.table_file import TableContent

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]


def windows(content: SeriesContent, length: int, horizon: int, stride: int, path: Path) -> TableContent:
    """Return the windows of all series as examples, those of a series in the order of time.

    Args:
        content: The series.
        length: Steps that are given: x is (B, length, D).
        horizon: Steps that are asked for, after these: y is (B, horizon * D_out), step by step.
        stride: Steps from the start of a window to that of the next.
        path: The file, for messages.

    Raises:
        DataError: No series has a window.
    """
    import numpy as np

    x, y, names, without, missing = [], [], [], [], 0
    for name, values in content.series.items():
        inputs, targets = _cut(values, length, horizon, stride)
        targets = targets[:, :, list(content.targets)]
        whole = ~(np.isnan(inputs).any((1, 2)) | np.isnan(targets).any((1, 2)))
        missing += int((~whole).sum())
        x.append(inputs[whole])
        y.append(targets[whole].reshape(-1, horizon * len(content.targets)))
        names.extend([name] * len(x[-1]))
        if not len(x[-1]):
            without.append(name)
    if not names:
        longest = max(map(len, content.series.values()))
        raise DataError(
            f"{path}: no series has a window of dataset.length={length} and dataset.horizon={horizon} without a "
            f"missing value; the longest series has {counted(longest, 'step')}. Lower these."
        )
    left_out = (f"Left out of {path}: {missing} windows with missing values.",) if missing else ()
    return TableContent(
        np.concatenate(x),
        np.concatenate(y),
        names,
        content.splits,
        tuple(without),
        content.notes + left_out,
        content.targets,
    )


def _cut(values: Floats, length: int, horizon: int, stride: int) -> tuple[Floats, Floats]:
    """What is given (B, length, D) and what follows (B, horizon, D) in each window of a series (T, D)."""
    import numpy as np

    count = max(0, (len(values) - length - horizon) // stride + 1)
    starts = np.arange(count)[:, None] * stride
    return values[starts + np.arange(length)], values[starts + length + np.arange(horizon)]
