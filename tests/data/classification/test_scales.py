"""Values of arrays that are too large to learn from bring the warning that tables bring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from small_image_folder import SPLIT_AND_PIXELS

from metaexp.data.arrays import Arrays
from metaexp.data.classification.scales import warn_of_large_values
from metaexp.data.regression_table import RegressionTable

RANDOM = np.random.default_rng(0).normal(size=(60, 12))
SIZES = {f"c{number}": 10 for number in range(6)}
SPLITS = {"train": ["c0", "c1"], "val": ["c2", "c3"], "test": ["c4", "c5"]}


def said(examples: npt.NDArray[np.generic]) -> list[str]:
    """What is said of examples (60, ...) of six classes, the first two of which are for training."""
    lines: list[str] = []
    warn_of_large_values(torch.from_numpy(examples), SIZES, SPLITS, "mine.npz", lines.append)  # type: ignore[arg-type]
    return lines


@pytest.mark.parametrize("shape", [(12,), (4, 3), (2, 3, 2)])
def test_large_values_of_the_training_split_are_warned_of(shape: tuple[int, ...]) -> None:
    examples = RANDOM.reshape(60, *shape).astype(np.float32)
    assert said(examples) == []
    assert said(examples * 60) == []
    (line,) = said(examples * np.float32(1e30))
    assert line.startswith("Warning: values of the training split of mine.npz are up to ")
    assert "e+30, and networks learn badly from large numbers. Bring each to mean 0" in line
    others = examples.copy()
    others[20:] *= 1e30  # of classes that are not for training
    assert said(others) == []


def test_one_large_column_is_enough_and_colours_and_bytes_are_left_to_others() -> None:
    examples = RANDOM.astype(np.float32)
    examples[:, 7] *= 300
    assert len(said(examples)) == 1
    channels = RANDOM.reshape(60, 2, 3, 2).astype(np.float32)
    channels[:, 1] *= 300
    assert len(said(channels)) == 1
    assert said(RANDOM.reshape(60, 3, 2, 2).astype(np.float32) * 300) == []
    assert said(np.full((60, 12), 255, np.uint8)) == []


def test_arrays_and_tables_say_the_same_of_the_same_numbers(tmp_path: Path) -> None:
    x, y = RANDOM * 1e30, np.arange(60) % 6
    lines: list[str] = []
    np.savez(tmp_path / "classes.npz", x=x, y=y)
    Arrays("classes.npz", **SPLIT_AND_PIXELS).load(tmp_path, lines.append)
    np.savez(tmp_path / "tasks.npz", x=x, y=RANDOM[:, 0], task=y)
    RegressionTable("tasks.npz", [0.5, 0.25, 0.25], 0).load(tmp_path, lines.append)
    found = [line for line in lines if "networks learn badly from large numbers" in line]
    assert len(found) == 2
    lines.clear()
    np.savez(tmp_path / "classes.npz", x=RANDOM, y=y)
    Arrays("classes.npz", **SPLIT_AND_PIXELS).load(tmp_path, lines.append)
    assert not any(line.startswith("Warning") for line in lines)
