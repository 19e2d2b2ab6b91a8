"""Examples that are twice in a task, tasks that are in two splits, and large numbers are warned of, and no others."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from metaexp.data.regression.suspect_tasks import hash_examples
from metaexp.data.regression_table import RegressionTable
from metaexp.data.time_series import TimeSeries

SPLITS = ["train"] * 4 + ["val"] * 2 + ["test"] * 2
Table = npt.NDArray[np.float64]


def random_tasks(n_examples: int = 8, n_columns: int = 3) -> Table:
    """Examples (tasks, n_examples, n_columns), the last two columns of which are targets."""
    return np.random.default_rng(0).normal(size=(len(SPLITS), n_examples, n_columns))


def warnings(folder: Path, tasks: Table, **changes: Any) -> list[str]:
    with (folder / "mine.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["task", "split", "x", "y0", "y1"])
        for number, split in enumerate(SPLITS):
            writer.writerows([f"t{number}", split, *map(repr, map(float, example))] for example in tasks[number])
    lines: list[str] = []
    RegressionTable("mine.csv", [0.5, 0.25, 0.25], 0, **changes).load(folder, lines.append)
    return [line for line in lines if line.startswith("Warning")]


def test_nothing_is_said_of_different_examples_of_usual_size(tmp_path: Path) -> None:
    assert warnings(tmp_path, random_tasks()) == []


def test_examples_that_are_twice_in_a_task_of_validation_or_test_are_counted(tmp_path: Path) -> None:
    tasks = random_tasks()
    tasks[0, 1] = tasks[0, 0]  # training
    assert warnings(tmp_path, tasks) == []
    tasks[6, 1:3] = tasks[6, 0]
    (line,) = warnings(tmp_path, tasks)
    assert "the test split repeats 2 of its 16 examples in their task" in line
    tasks[6, 2, 2] += 1e-3  # one target differs
    assert "repeats 1 of its 16 examples" in warnings(tmp_path, tasks)[0]


@pytest.mark.parametrize(
    ("first", "second", "splits"), [(0, 4, ("val", "train")), (1, 7, ("test", "train")), (4, 6, ("test", "val"))]
)
def test_a_task_with_the_examples_of_one_in_an_earlier_split_is_named(
    tmp_path: Path, first: int, second: int, splits: tuple[str, str]
) -> None:
    tasks = random_tasks()
    tasks[second, :4] = tasks[first, 7:3:-1]  # half of them, in another order
    (line,) = warnings(tmp_path, tasks)
    assert (
        f"1 of 2 tasks of the {splits[0]} split has at least half of the examples in one task of the {splits[1]}"
        in line
    )
    assert f"such as t{second} in t{first}." in line
    tasks[second, 0] = 0.5
    assert warnings(tmp_path, tasks) == []


def test_tasks_that_share_a_few_examples_or_have_few_possible_ones_are_not_twins(tmp_path: Path) -> None:
    tasks = random_tasks()
    tasks[:, 0] = 0.0  # a baseline
    tasks[[4, 5], 1] = tasks[[0, 1], 1]
    assert warnings(tmp_path, tasks) == []
    few = np.tile(np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]), (len(SPLITS), 3, 1))
    assert not any("at least half" in line for line in warnings(tmp_path, few))


def test_two_tasks_with_the_same_inputs_and_some_equal_targets_are_not_twins(tmp_path: Path) -> None:
    tasks = random_tasks()
    tasks[..., 0] = np.arange(8)
    tasks[4, :6] = tasks[0, :6]
    assert warnings(tmp_path, tasks) == []
    tasks[4, 6:, 0] += 20  # other inputs: a part of the task was copied
    assert "1 of 2 tasks of the val split has at least half" in warnings(tmp_path, tasks)[0]


@pytest.mark.parametrize("n_answers", [2, 5])
def test_tasks_of_equal_inputs_are_twins_only_where_targets_are_equal(tmp_path: Path, n_answers: int) -> None:
    tasks = random_tasks(n_examples=10)
    tasks[..., 0] = np.arange(10)  # the same items, answered by each person
    tasks[..., 1:] = np.random.default_rng(1).integers(0, n_answers, (len(SPLITS), 10, 1))
    assert warnings(tmp_path, tasks) == []
    tasks[5, :, 1:] = tasks[0, ::-1, 1:]
    tasks[5, :, 0] = tasks[0, ::-1, 0]
    assert bool(warnings(tmp_path, tasks)) == (n_answers > 2)  # of two answers, each is given by many


def test_large_numbers_are_warned_of_until_they_are_standardised(tmp_path: Path) -> None:
    tasks = random_tasks()
    tasks[..., 0] += 5000
    (line,) = warnings(tmp_path, tasks)
    assert line.startswith("Warning: inputs of the training tasks are up to 5e+03, and networks")
    assert "dataset.standardise=inputs" in line
    assert warnings(tmp_path, tasks, standardise="inputs") == []
    tasks[..., 1] *= 1000
    (line,) = warnings(tmp_path, tasks, standardise="inputs")
    assert "targets of the training tasks are up to" in line
    assert "dataset.standardise=both" in line
    assert warnings(tmp_path, tasks, standardise="both") == []


def test_targets_of_different_units_are_warned_of(tmp_path: Path) -> None:
    tasks = random_tasks()
    tasks[..., 2] *= 50
    (line,) = warnings(tmp_path, tasks)
    assert "one target has a standard deviation of " in line
    tasks[..., 2] = 3.0  # constant
    assert warnings(tmp_path, tasks) == []


@pytest.mark.parametrize("standardise", ["none", "both"])
def test_targets_that_are_the_same_everywhere_are_warned_of(tmp_path: Path, standardise: str) -> None:
    tasks = random_tasks()
    tasks[..., 1:] = 2.0
    (line,) = warnings(tmp_path, tasks, standardise=standardise)
    assert line.startswith("Warning: all 32 examples of the training tasks have the same targets, so that an error")
    tasks[2, 3, 1] = 2.5  # a single training example differs
    assert warnings(tmp_path, tasks, standardise=standardise) == []


@pytest.mark.parametrize("standardise", ["none", "inputs", "both"])
def test_an_input_that_is_a_target_is_named(tmp_path: Path, standardise: str) -> None:
    tasks = random_tasks()
    tasks[..., 0] = tasks[..., 2]
    (line,) = warnings(tmp_path, tasks, standardise=standardise)
    assert line.startswith(
        "Warning: in all 32 examples of the training tasks an input is a target: x equals y1. An error"
    )
    tasks[4:, :, 0] += 1  # it is given in training alone
    assert len(warnings(tmp_path, tasks, standardise=standardise)) == 1
    tasks[3, 7, 0] += 1e-3  # a single training example differs
    assert warnings(tmp_path, tasks, standardise=standardise) == []


def test_an_input_that_equals_a_constant_target_or_a_target_of_few_examples_is_not_a_leak(tmp_path: Path) -> None:
    tasks = random_tasks()
    tasks[..., 0] = tasks[..., 1] = 0.0
    assert warnings(tmp_path, tasks) == []
    few = random_tasks(n_examples=2)  # 8 in training
    few[..., 0] = few[..., 1]
    assert warnings(tmp_path, few) == []


def test_the_step_of_an_input_that_is_a_target_is_named(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(64, 5, 3))
    y = np.stack([x[:, 3, 1], x[:, 0, 2]], 1)
    names = {"task": np.repeat(np.arange(8), 8), "split": np.repeat(SPLITS, 8)}
    np.savez(tmp_path / "mine.npz", x=x, y=y, **names)
    lines: list[str] = []
    RegressionTable("mine.npz", [0.5, 0.25, 0.25], 0).load(tmp_path, lines.append)
    (line,) = (line for line in lines if line.startswith("Warning"))
    assert "x1 of step 4 equals y0; x2 of step 1 equals y1. An error" in line
    np.savez(tmp_path / "mine.npz", x=x, y=-y, **names)
    lines.clear()
    RegressionTable("mine.npz", [0.5, 0.25, 0.25], 0).load(tmp_path, lines.append)
    assert not any(line.startswith("Warning") for line in lines)


def test_a_column_of_a_series_that_knows_the_next_value_is_named(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(8, 61))
    rows = [f"s{n},{split},{values[n, i]},{values[n, i + 1]}" for n, split in enumerate(SPLITS) for i in range(60)]
    (tmp_path / "mine.csv").write_text("\n".join(["series,split,v,tomorrow", *rows]) + "\n")
    lines: list[str] = []
    TimeSeries("mine.csv", 4, 2, [0.5, 0.25, 0.25], 0, targets=["v"]).load(tmp_path, lines.append)
    (line,) = (line for line in lines if line.startswith("Warning"))
    assert "an input is a target: tomorrow of step 4 equals v of step 5. An error" in line


def test_series_are_looked_at_too(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(8, 60)) + 3000
    values[7] = values[0]
    rows = [f"s{n},{split},{value}" for n, split in enumerate(SPLITS) for value in values[n]]
    (tmp_path / "mine.csv").write_text("\n".join(["series,split,v", *rows]) + "\n")
    lines: list[str] = []
    TimeSeries("mine.csv", 4, 2, [0.5, 0.25, 0.25], 0).load(tmp_path, lines.append)
    of_twin, of_inputs, of_targets = (line for line in lines if line.startswith("Warning"))
    assert (
        "1 of 2 series of the test split has at least half of the examples in one series of the train split" in of_twin
    )
    assert "dataset.standardise=values" in of_inputs
    assert "dataset.standardise=values" in of_targets


def test_series_that_stay_the_same_or_come_again_are_not_suspect(tmp_path: Path) -> None:
    values = np.zeros((8, 240), int)
    for number, series in enumerate(values):
        series[np.random.default_rng(number).integers(0, 240, 9)] = 1  # a door that is rarely open
    rows = [f"s{n},{split},{value}" for n, split in enumerate(SPLITS) for value in values[n]]
    (tmp_path / "mine.csv").write_text("\n".join(["series,split,v", *rows]) + "\n")
    lines: list[str] = []
    TimeSeries("mine.csv", 8, 1, [0.5, 0.25, 0.25], 0).load(tmp_path, lines.append)
    assert not [line for line in lines if line.startswith("Warning")]


def test_hashes_are_equal_for_equal_examples_alone() -> None:
    x = np.stack(np.meshgrid(*[np.arange(40, dtype=np.float32)] * 3), -1).reshape(-1, 3)  # many equal bits
    hashes = hash_examples(x, x[:, :1])
    assert len(np.unique(hashes)) == len(x)
    assert (hash_examples(x[::-1], x[::-1, :1]) == hashes[::-1]).all()
    assert len(np.unique(hash_examples(x, 0 * x[:, :1]) == hashes)) == 2
