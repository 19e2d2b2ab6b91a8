"""Columns and arrays that would be ignored without a word."""

import numpy as np
import pytest
from PIL import Image

from metaexp.core.errors import DataError
from metaexp.data.arrays import Arrays
from metaexp.data.files.csv_rows import unused
from metaexp.data.image_folder import ImageFolder
from metaexp.data.regression_table import RegressionTable
from metaexp.data.time_series import TimeSeries

SPLIT_OF = ["train", "train", "val", "test"]


def table(folder, header, **changes):
    rows = [f"t{n},{SPLIT_OF[n]},{i},{n + i},{n}" for n in range(4) for i in range(5)]
    (folder / "mine.csv").write_text("\n".join([header, *rows]) + "\n")
    said = []
    return RegressionTable("mine.csv", [0.5, 0.25, 0.25], 0, **changes).load(folder, said.append), said


def series(folder, header, **changes):
    rows = [f"s{n},{SPLIT_OF[n]},{i},{n + i}" for n in range(4) for i in range(12)]
    (folder / "mine.csv").write_text("\n".join([header, *rows]) + "\n")
    said = []
    return TimeSeries("mine.csv", 2, 1, [0.5, 0.25, 0.25], 0, **changes).load(folder, said.append), said


def test_what_is_not_read_is_named_and_what_is_read_is_not(tmp_path):
    _, said = table(tmp_path, "task,split,x,y,weight")
    assert [line for line in said if "Not used" in line] == [f"Not used in {tmp_path / 'mine.csv'}: 1 column (weight)."]
    _, said = table(tmp_path, "task,split,x,y,")
    assert [line for line in said if "Not used" in line] == [f'Not used in {tmp_path / "mine.csv"}: 1 column ("").']
    _, said = table(tmp_path, 'task,split,x,y,"dose, mg"')
    assert [line.partition(": ")[2] for line in said if "Not used" in line] == ['1 column ("dose, mg").']
    _, said = table(tmp_path, "task,split,x0,y,x1")
    assert not any("Not used" in line for line in said)


@pytest.mark.parametrize("name", ["Split", "SPLIT", "splits", "_split"])
def test_another_spelling_of_the_split_is_refused_in_a_table(tmp_path, name):
    loaded, _ = table(tmp_path, "task,split,x,y,z")
    assert loaded.task_names == {"train": ("t0", "t1"), "val": ("t2",), "test": ("t3",)}
    with pytest.raises(DataError, match=rf"column {name}, which is not read; it has no split"):
        table(tmp_path, f"task,{name},x,y,z")


@pytest.mark.parametrize("name", ["set", "fold"])
def test_a_column_with_the_names_of_splits_is_refused_unless_there_is_a_split(tmp_path, name):
    with pytest.raises(DataError, match=f"column {name} has the names of splits"):
        table(tmp_path, f"task,{name},x,y,z")
    values = {"task": ["a", "b"], "split": ["train", "test"], name: ["train", "val"]}
    assert unused(values, {"task", "split"}, ("task", "split"), tmp_path) == [
        f"Not used in {tmp_path}: 1 column ({name})."
    ]


def test_a_target_among_the_inputs_and_a_column_named_twice_are_refused(tmp_path):
    with pytest.raises(DataError, match="y is an input and a target"):
        table(tmp_path, "task,split,x,y,z", inputs=["x", "y"])
    with pytest.raises(DataError, match=r"dataset.inputs names x twice"):
        table(tmp_path, "task,split,x,y,z", inputs=["x", "x"])
    with pytest.raises(DataError, match=r"dataset.targets names load twice"):
        series(tmp_path, "series,split,time,load", targets=["load", "load"])
    with pytest.raises(DataError, match=r"dataset.values names load twice"):
        series(tmp_path, "series,split,time,load", values=["load", "load"])
    loaded, _ = table(tmp_path, "task,split,x,y,z", inputs=["x", "z"])
    assert loaded.input_shape == (2,)


def test_an_example_without_a_task_is_refused(tmp_path):
    (tmp_path / "mine.csv").write_text("task,x,y\na,1,2\n ,1,3\n")
    with pytest.raises(DataError, match="line 3: task is empty"):
        RegressionTable("mine.csv", [0.5, 0.25, 0.25], 0).load(tmp_path, print)


def test_names_of_columns_are_refused_for_arrays_which_have_none(tmp_path):
    numbers = np.arange(20.0)
    arrays = {"x": numbers, "y": numbers, "task": np.repeat(np.arange(4), 5)}
    np.savez(tmp_path / "mine.npz", **arrays)
    assert RegressionTable("mine.npz", [0.5, 0.25, 0.25], 0).load(tmp_path, print).input_shape == (1,)
    for key in ("inputs", "targets", "task"):
        with pytest.raises(DataError, match=rf"dataset.{key} names columns of a CSV"):
            RegressionTable("mine.npz", [0.5, 0.25, 0.25], 0, **{key: ["x"]}).load(tmp_path, print)


@pytest.mark.parametrize("name", ["splits", "set"])
def test_arrays_that_divide_the_tasks_under_another_name_are_refused(tmp_path, name):
    numbers, split = np.arange(20.0), np.repeat(np.array(SPLIT_OF), 5)
    np.savez(tmp_path / "mine.npz", x=numbers, y=numbers, task=np.repeat(np.arange(4), 5), **{name: split})
    with pytest.raises(DataError, match=f"the array {name}"):
        RegressionTable("mine.npz", [0.5, 0.25, 0.25], 0).load(tmp_path, print)
    np.savez(tmp_path / "mine.npz", values=numbers, series=np.repeat(np.arange(4), 5), **{name: split})
    with pytest.raises(DataError, match=f"the array {name}"):
        TimeSeries("mine.npz", 2, 1, [0.5, 0.25, 0.25], 0).load(tmp_path, print)


@pytest.mark.parametrize("name", ["Time", "times"])
def test_a_misspelt_time_does_not_become_a_value(tmp_path, name):
    loaded, said = series(tmp_path, "series,split,time,load")
    assert loaded.input_shape == (2, 1)
    assert not any("Values in" in line for line in said)
    with pytest.raises(DataError, match=f"column {name}, which is not read; it has no time"):
        series(tmp_path, f"series,split,{name},load")


def test_the_columns_that_became_values_are_named(tmp_path):
    _, said = series(tmp_path, "series,split,t,load")
    assert any("Values in" in line and "t, load" in line for line in said)


@pytest.mark.parametrize("name", ["Split", "subset"])
def test_a_list_of_images_with_a_misspelt_split_is_refused(tmp_path, name):
    (tmp_path / "mine").mkdir()
    for n in range(3):
        Image.fromarray(np.full((4, 4), 10 * n, np.uint8)).save(tmp_path / "mine" / f"{n}.png")
    data = ImageFolder("mine", 4, 1, [0.5, 0.25, 0.25], 0, False, None, "none", "all", labels="list.csv")
    rows = [f"{n}.png,c{n},{split},{n}" for n, split in enumerate(["train", "val", "test"])]
    (tmp_path / "list.csv").write_text("\n".join(["file,label,split,width", *rows]))
    said = []
    assert data.load(tmp_path, said.append).class_names["train"] == ("c0",)
    assert any("1 column (width)" in line for line in said)
    (tmp_path / "list.csv").write_text("\n".join([f"file,label,{name},width", *rows]))
    with pytest.raises(DataError, match=f"the column {name}"):
        data.load(tmp_path, print)


def test_labelled_arrays_do_not_ignore_a_split(tmp_path):
    x, y = np.zeros((12, 3), np.float32), np.repeat(np.arange(4), 3)
    np.savez(tmp_path / "mine.npz", x=x + np.arange(12)[:, None], y=y, split=np.repeat(np.array(SPLIT_OF), 3))
    with pytest.raises(DataError, match="array split, which is not read"):
        Arrays("mine.npz", [0.5, 0.25, 0.25], 0, False, None, "none", "all").load(tmp_path, print)
    np.savez(tmp_path / "mine.npz", x=x + np.arange(12)[:, None], y=y, names=np.arange(12))
    assert (
        Arrays("mine.npz", [0.5, 0.25, 0.25], 0, False, None, "none", "all").load(tmp_path, print).class_names["test"]
    )


def test_the_columns_of_the_task_the_series_and_the_time_may_have_other_names(tmp_path):
    usual, _ = table(tmp_path, "task,split,x,y,z")
    named, said = table(tmp_path, "patient,split,x,y,task", task="patient")
    assert named.task_names == usual.task_names
    assert named.digest == usual.digest
    assert any("Not used" in line and "1 column (task)" in line for line in said), "another column is called task"
    assert table(tmp_path, "task,split,x,y,patient", task="patient")[0].digest != usual.digest
    usual, _ = series(tmp_path, "series,split,time,load")
    named, _ = series(tmp_path, "home,split,when,load", series="home", time="when")
    assert named.input_shape == (2, 1), "the time is not a value"
    assert named.digest == usual.digest
    assert series(tmp_path, "series,split,when,load")[0].input_shape == (2, 2)


@pytest.mark.parametrize("read", [table, series])
@pytest.mark.parametrize("key", ["task", "series", "time"])
def test_a_named_column_that_is_not_there_names_its_key_and_the_columns(tmp_path, read, key):
    if (key == "task") != (read is table):
        return
    header = "task,split,x,y,z" if read is table else "series,split,time,load"
    with pytest.raises(DataError, match=rf"dataset\.{key} names when; .* has the columns {header.replace(',', ', ')}"):
        read(tmp_path, header, **{key: "when"})


def test_without_the_usual_column_the_key_that_names_another_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no column task; .* Or name the column in dataset\.task\."):
        table(tmp_path, "patient,split,x,y,z")
    with pytest.raises(DataError, match=r"no column series; .* Or name the column in dataset\.series\."):
        series(tmp_path, "home,split,time,load")
    table(tmp_path, "patient,split,x,y,z", task="patient")
    series(tmp_path, "home,split,time,load", series="home")
    (tmp_path / "mine.csv").write_text("patient,x,y\n ,1,2\n")
    with pytest.raises(DataError, match=r"line 2: patient is empty"):
        RegressionTable("mine.csv", [0.5, 0.25, 0.25], 0, task="patient").load(tmp_path, print)
