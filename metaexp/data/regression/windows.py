"""Cuts time series into windows: what is given, and what follows. Without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from metaexp.core.counted import counted
from metaexp.core.errors import DataError
from metaexp.data.regression.series_file import SeriesContent
from metaexp.data.regression.table_file import TableContent
from metaexp.data.regression.time_steps import StepTimes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


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
    crossing: dict[str, npt.NDArray[np.int64]] = {}
    for name, values in content.series.items():
        starts = np.arange(max(0, (len(values) - length - horizon) // stride + 1)) * stride
        inputs = values[starts[:, None] + np.arange(length)]
        targets = values[starts[:, None] + length + np.arange(horizon)][:, :, list(content.targets)]
        whole = ~(np.isnan(inputs).any((1, 2)) | np.isnan(targets).any((1, 2)))
        missing += int((~whole).sum())
        x.append(inputs[whole])
        y.append(targets[whole].reshape(-1, horizon * len(content.targets)))
        names.extend([name] * len(x[-1]))
        if not len(x[-1]):
            without.append(name)
        elif content.times is not None:
            crossing[name] = starts[whole][content.times[name].crossing(starts[whole], length + horizon)]
    if not names:
        longest = max(map(len, content.series.values()))
        raise DataError(
            f"{path}: no series has a window of dataset.length={length} and dataset.horizon={horizon} without a "
            f"missing value; the longest series has {counted(longest, 'step')}. Lower these."
        )
    ahead = range(length + 1, length + 1 + horizon)
    left_out = (f"Left out of {path}: {counted(missing, 'window')} with missing values.",) if missing else ()
    return TableContent(
        np.concatenate(x),
        np.concatenate(y),
        content.columns,
        tuple(f"{content.columns[n]} of step {step:,}" for step in ahead for n in content.targets),
        names,
        content.splits,
        tuple(without),
        (*content.notes, *left_out, *_uneven(content.times or {}, crossing, len(names), path)),
        content.targets,
    )


def _uneven(
    times: Mapping[str, StepTimes], crossing: Mapping[str, npt.NDArray[np.int64]], n_windows: int, path: Path
) -> list[str]:
    """A warning if windows go across steps of another length; ``crossing`` has the starts of these in each series."""
    n_crossing = sum(map(len, crossing.values()))
    if not n_crossing:
        return []
    name, starts = next((name, starts) for name, starts in crossing.items() if len(starts))
    return [
        f"Warning: {path}: {n_crossing:,} of {counted(n_windows, 'window')} go across a step that is longer or shorter "
        f"than most, such as in series {name} {times[name].first_uneven(int(starts[0]))}. Windows take all steps as "
        "equally long. Give each step that was not recorded a line with its time and an empty value (nan in an .npz), "
        "and no window goes across it. If the steps are meant to follow each other so, as days without weekends do, "
        "leave out the times, with the lines in order."
    ]
