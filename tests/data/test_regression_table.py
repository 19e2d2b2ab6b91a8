"""Regression tasks of one's own, from CSV and .npz files."""

import numpy as np
import pytest
import torch

from metaexp.core.errors import ConfigError, DataError, MissingDataError
from metaexp.core.fit.task_fit import DataFacts, Tasks, fit_problems
from metaexp.core.shapes import SPLITS, Capacity, TaskShape
from metaexp.data.regression import table_file
from metaexp.data.regression_table import RegressionTable

N_TASKS, SIZE = 12, 9


def dataset(file="mine.csv", **changes):
    return RegressionTable(**{"file": file, "fractions": [0.5, 0.25, 0.25], "split_seed": 0, **changes})


def write(folder, header="task,x,y", rows=None):
    """Twelve tasks of nine examples; y is 100 times the task plus x, so that each example names its task."""
    if rows is None:
        rows = [f"t{task:02d},{x},{100 * task + x}" for x in range(SIZE) for task in range(N_TASKS)]
    (folder / "mine.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def test_an_episode_is_one_task_with_different_examples_whose_targets_stay_with_their_inputs(tmp_path):
    loaded = dataset().load(write(tmp_path), print)
    assert loaded.kind == "regression"
    assert (loaded.input_shape, loaded.target_size) == ((1,), 1)
    assert loaded.capacity() == {"train": Capacity(6, SIZE), "val": Capacity(3, SIZE), "test": Capacity(3, SIZE)}
    for split in SPLITS:
        episode = loaded.tasks(TaskShape(0, 4, 5), seed=3).episodes(split, torch.arange(40))
        x, y = torch.cat([episode.support.x, episode.query.x], 1), torch.cat([episode.support.y, episode.query.y], 1)
        assert x.shape == (40, 9, 1)
        assert y.shape == (40, 9, 1)
        assert x.squeeze(-1).sort(1).values.equal(torch.arange(9.0).expand(40, 9))
        tasks = (y - x).squeeze(-1) / 100
        assert (tasks == tasks[:, :1]).all()
        names = {f"t{int(task):02d}" for task in tasks[:, 0]}
        assert names == set(loaded.task_names[split])


def test_of_larger_tasks_all_examples_are_drawn(tmp_path):
    rows = [f"t{task:02d},{x},{100 * task + x}" for task in range(N_TASKS) for x in range(SIZE if task % 2 else 30)]
    loaded = dataset().load(write(tmp_path, rows=rows), print)
    for split in SPLITS:
        support, query = loaded.tasks(TaskShape(0, 4, 5), seed=3).episodes(split, torch.arange(300))
        x, y = torch.cat([support.x, query.x], 1).flatten(), torch.cat([support.y, query.y], 1).flatten()
        drawn = set(zip((((y - x) / 100).int()).tolist(), x.int().tolist(), strict=True))
        names = [int(name[1:]) for name in loaded.task_names[split]]
        assert drawn == {(task, at) for task in names for at in range(SIZE if task % 2 else 30)}


def test_fewer_shots_are_the_first_of_more_and_other_seeds_give_other_tasks(tmp_path):
    loaded = dataset().load(write(tmp_path), print)
    few, more, other = (
        loaded.tasks(TaskShape(0, k, 2), seed).episodes("train", torch.arange(20))
        for k, seed in ((2, 0), (5, 0), (2, 1))
    )
    assert few.support.x.equal(more.support.x[:, :2])
    assert not few.support.y.equal(other.support.y)
    tasks = loaded.tasks(TaskShape(0, 2, 2), 0)
    assert tasks.bank_hash("test", 50) == loaded.tasks(TaskShape(0, 2, 2), 0).bank_hash("test", 50)
    assert tasks.bank_hash("test", 50) != tasks.bank_hash("test", 51)


def test_a_csv_and_arrays_of_the_same_numbers_are_the_same_data(tmp_path):
    from_csv = dataset().load(write(tmp_path), print)
    task = np.tile(np.arange(N_TASKS), SIZE)
    x = np.repeat(np.arange(SIZE), N_TASKS).astype(np.float64)
    np.savez(tmp_path / "mine.npz", x=x, y=100 * task + x, task=np.array([f"t{n:02d}" for n in task]))
    from_arrays = dataset("mine.npz").load(tmp_path, print)
    assert from_arrays.digest == from_csv.digest
    np.savez(tmp_path / "mine.npz", x=x, y=100 * task + x + 1, task=np.array([f"t{n:02d}" for n in task]))
    assert dataset("mine.npz").load(tmp_path, print).digest != from_csv.digest


def test_sequences_and_several_targets_are_taken(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 6, 2))
    np.savez(tmp_path / "mine.npz", x=x, y=x[:, -1], task=np.repeat(np.arange(8), 5))
    loaded = dataset("mine.npz").load(tmp_path, print)
    assert (loaded.input_shape, loaded.target_size) == ((6, 2), 2)
    episode = loaded.tasks(TaskShape(0, 2, 3), 0).episodes("train", torch.arange(4))
    assert episode.query.x[:, :, -1].equal(episode.query.y)


def test_columns_are_found_by_number_or_named(tmp_path):
    rows = [f"{task},train,{i},{2 * i},{3 * i}" for task in "abc" for i in range(3)]
    write(tmp_path, "task,note,x10,x9,y", rows)
    assert dataset().load(tmp_path, print).x[1].tolist() == [2.0, 1.0]  # x9, then x10
    named = dataset(inputs=["x10"], targets=["y", "x9"]).load(tmp_path, print)
    assert named.x[1].tolist() == [1.0]
    assert named.y[1].tolist() == [3.0, 2.0]


def test_a_column_divides_the_tasks(tmp_path):
    rows = [
        f"{task},{split},{i},{i}" for task, split in (("a", "test"), ("b", "train"), ("c", "val")) for i in range(3)
    ]
    loaded = dataset().load(write(tmp_path, "task,split,x,y", rows), print)
    assert loaded.task_names == {"train": ("b",), "val": ("c",), "test": ("a",)}


def test_small_tasks_are_left_out_and_named(tmp_path):
    rows = [f"t{task:02d},{i},{i}" for task in range(8) for i in range(3 if task < 2 else 10)]
    write(tmp_path, rows=rows)
    said = []
    loaded = dataset(min_examples=5).load(tmp_path, said.append)
    assert sum(capacity.n_classes for capacity in loaded.capacity().values()) == 6
    assert any("2 tasks with fewer than 5 examples (dataset.min_examples): t00 (3), t01 (3)" in line for line in said)
    assert dataset(min_examples=5).capacity_in(tmp_path) == loaded.capacity()
    assert min(capacity.per_class for capacity in dataset().capacity_in(tmp_path).values()) == 3
    with pytest.raises(DataError, match=r"dataset\.min_examples=11 leaves out every task of .* the largest has 10"):
        dataset(min_examples=11).load(tmp_path, said.append)


def test_a_split_that_loses_all_its_tasks_is_refused(tmp_path):
    rows = [f"{t},{s},{i},{i}" for t, s, n in (("a", "train", 9), ("b", "val", 2), ("c", "test", 9)) for i in range(n)]
    write(tmp_path, "task,split,x,y", rows)
    with pytest.raises(DataError, match=r"dataset\.min_examples=5 leaves nothing in the val split"):
        dataset(min_examples=5).load(tmp_path, print)


@pytest.mark.parametrize("which", ["inputs", "both"])
def test_values_are_standardised_by_the_training_tasks_alone(tmp_path, which):
    plain, scaled = (dataset(standardise=s).load(write(tmp_path), print) for s in ("none", which))
    table = plain.table("train")
    rows = torch.cat([torch.arange(f, f + n) for f, n in zip(table.first, table.length, strict=True)])
    for before, after, changed in ((plain.x, scaled.x, True), (plain.y, scaled.y, which == "both")):
        if not changed:
            assert after.equal(before)
            continue
        assert torch.allclose(after[rows].mean(0), torch.zeros(1), atol=1e-6)
        assert torch.allclose(after[rows].std(0, correction=0), torch.ones(1), atol=1e-6)
        assert torch.allclose(
            after * before[rows].std(0, correction=0) + before[rows].mean(0), before, rtol=1e-5, atol=1e-3
        )
    assert scaled.digest != plain.digest


@pytest.mark.parametrize("offset", [0.0, 1.7e9])
@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_digits_that_float32_loses_are_warned_of(tmp_path, offset, ending):
    """Seconds since 1970 are rounded to 128 of them: all examples of a minute become one."""
    task, second = np.repeat([f"t{n}" for n in range(6)], SIZE), offset + 50 + np.tile(np.arange(SIZE), 6)
    if ending == "npz":
        np.savez(tmp_path / "mine.npz", x=second, y=np.arange(len(task)), task=task)
    else:
        write(tmp_path, rows=[f"{task[i]},{x!r},{i}" for i, x in enumerate(second.tolist())])
    lines = []
    loaded = dataset(f"mine.{ending}", standardise="inputs").load(tmp_path, lines.append)
    warnings = [line for line in lines if "float32 rounds x" in line and "Subtract an offset" in line]
    assert len(warnings) == (1 if offset else 0)
    assert len([line for line in lines if "arning" in line]) == len(warnings)
    assert len(loaded.x.unique()) == (1 if offset else SIZE)


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
@pytest.mark.parametrize("offset", [0, 2**53, 2**62, 2**63])
@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_whole_numbers_that_even_a_float64_cannot_hold_are_warned_of(tmp_path, ending, offset, dtype):
    """They differ by one, by less than 1e-12 of their size; floats that differ by so little count as equal."""
    if offset > np.iinfo(dtype).max:
        pytest.skip("beyond the type")
    task, x = np.repeat([f"t{n}" for n in range(6)], SIZE), [offset + number for number in range(SIZE)] * 6
    if ending == "npz":
        np.savez(tmp_path / "mine.npz", x=np.array(x, dtype), y=np.arange(len(task)), task=task)
    else:
        write(tmp_path, rows=[f"{task[i]},{number},{i}" for i, number in enumerate(x)])
    lines = []
    dataset(f"mine.{ending}").load(tmp_path, lines.append)
    warnings = [line for line in lines if "float32 rounds x" in line and "values that differ become the same" in line]
    assert len(warnings) == (1 if offset else 0)


@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_nothing_is_said_of_large_whole_numbers_that_are_constant_in_each_task(tmp_path, ending):
    task, x = np.repeat([f"t{n}" for n in range(6)], SIZE), np.repeat(2**60 + np.arange(6), SIZE)
    if ending == "npz":
        np.savez(tmp_path / "mine.npz", x=x, y=np.arange(len(task)), task=task)
    else:
        write(tmp_path, rows=[f"{task[i]},{number},{i}" for i, number in enumerate(x.tolist())])
    lines = []
    loaded = dataset(f"mine.{ending}").load(tmp_path, lines.append)
    assert not [line for line in lines if "float32" in line]
    assert loaded.x.unique().tolist() == [2.0**60]


@pytest.mark.parametrize("ending", ["csv", "npz"])
@pytest.mark.parametrize("values", [[0.1, 0.1, 0.1], [0.3, 0.1 + 0.2, 0.3]])
def test_nothing_is_said_of_a_column_that_is_constant_in_each_task(tmp_path, values, ending):
    """0.1 is not a number of float32, and the mean of three of them is not 0.1."""
    task, x = np.repeat([f"t{n}" for n in range(6)], 3), np.tile(values, 6)
    if ending == "npz":
        np.savez(tmp_path / "mine.npz", x=x, y=np.arange(len(task)), task=task)
    else:
        write(tmp_path, rows=[f"{task[i]},{value!r},{i}" for i, value in enumerate(x.tolist())])
    lines = []
    dataset(f"mine.{ending}").load(tmp_path, lines.append)
    assert not [line for line in lines if "arning" in line]


def test_a_constant_column_stays_finite_when_it_is_standardised(tmp_path):
    rows = [f"t{task},{7},{i}" for task in range(6) for i in range(3)]
    loaded = dataset(standardise="both").load(write(tmp_path, rows=rows), print)
    assert loaded.x.eq(0).all()
    assert loaded.y.isfinite().all()


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("task,x", ["a,1"], r"no column y, and none called y0, y1, \.\.\.; it has task, x"),
        ("x,y", ["1,1"], "no column task; it has x, y"),
        ("task,x,x0,y", ["a,1,1,1"], "has both x and x0"),
        ("task,x,x,y", ["a,1,1,1"], "two columns called x"),
        ("task,x,y", ["a,1,1", "a,1"], "line 3: 2 values under 3 column names"),
        ("task,x,y", ["a,1,1", "a,one,1"], "line 3: x is 'one'; it must be a finite number"),
        ("task,x,y", ["a,1,nan"], "line 2: y is 'nan'.* If a value is missing, leave out the line, or fill it in"),
        ("task,x,y", ["a,1_000,1"], r"line 2: x is '1_000'.* Write numbers without underscores: 1000\.$"),
        ("task,x,y", ["a,1,1", "a,1, -2_0.5e3 "], r"line 3: y is ' -2_0.5e3 '.* without underscores: -20\.5e3\.$"),
        ("task,x,y", ["a,1,_"], r"line 2: y is '_'.* missing, leave out the line"),
        ("task,x,y", ["a,1,1__0"], r"line 2: y is '1__0'"),
        ("task,x,y", ['a,"1,000",1'], r"line 2: x is '1,000'.* It may be 1\.000 or 1000\. Write numbers with a"),
        ("task,x,y", ['a,"-0,75",1'], r"line 2: x is '-0,75'.* Write numbers with a decimal point: -0\.75\.$"),
        ("task,x,y", ['a,"1,2,3",1'], r"line 2: x is '1,2,3'.* If a value is missing"),
        ("task,x,y", ["a,,1"], "line 2: x is ''.* leave out the line, or fill it in"),
        ("task,x,y", ["a,,1", "a,2,", "a,1,1"], "line 2: x is ''.* fill it in. 2 of 3 lines have such an empty cell"),
        ("task,x,y", ["a,,1", "a,2,3"], r"line 2: x is ''.* leave out the line, or fill it in\.$"),
        ("task,x,y", ["a,1e39,1"], "line 2: x is '1e39'.* Divide all by a constant"),
        ('task,"x, cm",,y', ["a,1,2,3"], 'has no column x, .*; it has task, "x, cm", "", y. Name the columns in'),
        ("task,x,y", [], "has no examples"),
        ("task,x,y", ["a,1,1", "b,1,1"], "has 2 tasks, which cannot be divided"),
        ("task,split,x,y", ["a,train,1,1", "a,test,1,1"], "task a is in train and in test"),
        ("task,split,x,y", ["a,dev,1,1"], "split is 'dev' for task a; it must be train, val, test"),
        ("task,split,x,y", ["a,train,1,1", "b,val,1,1"], "no task is in test"),
    ],
)
def test_a_wrong_csv_is_refused_by_line_or_column(tmp_path, header, rows, message):
    with pytest.raises(DataError, match=message):
        dataset().load(write(tmp_path, header, rows), print)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": None}, "has no array y; it has task, x"),
        ({"x": np.zeros((20, 2, 2, 2))}, r"x has the shape \(20, 2, 2, 2\)"),
        ({"x": np.array(["a"] * 20)}, "x is <U1; it must be numbers"),
        (
            {"x": np.full(20, np.inf)},
            "x has values that are not finite as float32, such as inf in example 0. Leave out",
        ),
        (
            {"y": np.where(np.arange(20) < 7, 1.0, np.nan)},
            "such as nan in example 7. Leave out examples where a value is missing, or fill it in",
        ),
        ({"y": np.zeros(19)}, "different numbers of examples: x 20, y 19, task 20"),
        ({"task": np.zeros(20)}, "task is float64"),
    ],
)
def test_wrong_arrays_are_refused_by_name(tmp_path, change, message):
    arrays = {"x": np.arange(20.0), "y": np.arange(20.0), "task": np.repeat(np.arange(5), 4)} | change
    np.savez(tmp_path / "mine.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(DataError, match=message):
        dataset("mine.npz").load(tmp_path, print)


def test_a_missing_file_and_an_unknown_column_name_their_keys(tmp_path):
    with pytest.raises(MissingDataError, match=r"dataset\.file=mine\.csv: there is no file"):
        dataset().load(tmp_path, print)
    with pytest.raises(DataError, match=r"dataset\.inputs names z; .* has the columns task, x, y"):
        dataset(inputs=["z"]).load(write(tmp_path), print)


def test_tasks_that_are_too_large_are_refused_before_anything_starts_and_when_they_are_drawn(tmp_path):
    capacity = dataset().capacity_in(write(tmp_path))
    shape = TaskShape(0, 5, 5)
    (problem,) = fit_problems(DataFacts("table", "regression", capacity), None, Tasks(shape, shape, ("test",)))
    assert (
        "task.k_shot=5 and task.n_query=5 need 10 examples per task; the smallest test task of table has 9" in problem
    )
    assert not fit_problems(
        DataFacts("table", "regression", capacity), None, Tasks(TaskShape(0, 5, 4), shape, ("train",))
    )
    with pytest.raises(ConfigError, match="need 10 examples per task; the smallest val task of mine has 9"):
        dataset().load(tmp_path, print).tasks(shape, 0).episodes("val", torch.arange(1))
    with pytest.raises(ConfigError, match="has regression tasks, which have no classes"):
        dataset().load(tmp_path, print).tasks(TaskShape(5, 1, 1), 0)


def test_the_tasks_of_a_file_are_counted_once_and_again_when_it_changes(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(table_file, "_from_csv", lambda *a, whole=table_file._from_csv: read.append(1) or whole(*a))
    first = [dataset(split_seed=seed).capacity_in(write(tmp_path) if seed == 0 else tmp_path) for seed in (0, 1)]
    assert len(read) == 1
    assert first[0] == first[1]
    write(tmp_path, rows=[f"t{task},{x},{x}" for x in range(20) for task in range(N_TASKS)])
    assert dataset().capacity_in(tmp_path)["train"].per_class == 20
    assert len(read) == 2


@pytest.mark.parametrize(
    ("task", "advice"),
    [
        (np.repeat([0.0, 1.0], 20), "Convert them: task.astype(int)."),
        (np.repeat([0.0, np.nan], 20), "Leave out examples where task is NaN or infinite."),
        (np.repeat([0.5, 1.5], 20), "Text always works."),
    ],
)
def test_names_of_tasks_that_are_not_names_are_refused_with_what_to_do(tmp_path, task, advice):
    x = np.arange(40.0)[:, None]
    np.savez(tmp_path / "mine.npz", x=x, y=x, task=task)
    with pytest.raises(DataError) as caught:
        dataset("mine.npz").load(tmp_path, print)
    assert str(caught.value).endswith(f"it must be one whole number or text for each example. {advice}")
