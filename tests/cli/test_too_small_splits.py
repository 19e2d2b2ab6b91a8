"""A split that is too small for the task, known only from the files, is found before anything starts, by every verb."""

from __future__ import annotations

import re
import shlex
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaexp.cli.main import main

TASK = ["algorithm=proto_net", "task.n_way=3", "task.k_shot=1", "task.n_query=2", "tracker=files", "device=cpu"]
CLASSES = {"train": 5, "val": 2, "test": 3}


def images(data: Path, classes: dict[str, int], per_class: int) -> list[str]:
    for number, (split, n) in enumerate(classes.items()):
        for c in range(n):
            folder = data / "images" / split / f"{split}{c}"
            folder.mkdir(parents=True)
            for i in range(per_class):
                Image.new("L", (28, 28), 10 * c + i + 80 * number).save(folder / f"{i}.png")
    return ["dataset=image_folder", "dataset.image_size=28", "dataset.channels=1"]


def arrays(data: Path, classes: dict[str, int], per_class: int) -> list[str]:
    made = {}
    for number, (split, n) in enumerate(classes.items()):
        made[f"x_{split}"] = np.random.default_rng(number).random((n * per_class, 1, 28, 28)).astype(np.float32)
        made[f"y_{split}"] = np.repeat(np.arange(n) + 100 * number, per_class)
    np.savez(data / "arrays.npz", **made)
    return ["dataset=arrays"]


def tar(data: Path, classes: dict[str, int], per_class: int) -> list[str]:
    found = images(data, classes, per_class)
    with tarfile.open(data / "images.tar", "w:gz", compresslevel=1) as archive:
        archive.add(data / "images", "images")
    return [*found, "dataset.folder=images.tar"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.mark.parametrize("make", [images, arrays, tar])
@pytest.mark.parametrize("verb", [["train"], ["train", "-m", "seed=0,1"], ["plan", "seed=0,1"]])
def test_a_small_validation_split_is_found_by_every_verb(
    data: Path, make: Callable[..., list[str]], verb: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = make(data, CLASSES, 4)
    assert main([*verb, *name, *TASK, f"paths.data={data}"]) == 2
    assert "task.n_way=3 needs as many classes; the val split of" in capsys.readouterr().err
    assert not (data.parent / "outputs").exists()


@pytest.mark.parametrize("make", [images, arrays])
def test_too_few_examples_in_every_class_are_found_and_only_what_helps_is_proposed(
    data: Path, make: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    name = [*make(data, {**CLASSES, "val": 3}, 4), *TASK, f"paths.data={data}"]
    assert main(["plan", *name]) == 0
    assert main(["plan", *name, "task.n_query=5"]) == 2
    error = capsys.readouterr().err
    assert f"need 6 examples per class; {name[0].removeprefix('dataset=')}" in error
    assert " has 4. Lower task.k_shot or task.n_query (together at most 4), or give each class 6 examples" in error
    assert "dataset.min_" not in error, "no class has 6 examples"


def test_regression_tasks_that_are_all_small_are_not_to_be_left_out(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "table.csv").write_text("\n".join(["task,x,y", *[f"t{i % 6},{i},{i}" for i in range(54)], ""]))
    assert main(["plan", "dataset=regression_table", "device=cpu", f"paths.data={data}"]) == 2
    error = capsys.readouterr().err
    assert "(together at most 9), or give each task 20 examples or more." in error
    assert "dataset.min_examples" not in error


def flat(data: Path, n_classes: int) -> list[str]:
    """A folder of classes that is not divided, each with 4 images."""
    made = images(data, {"train": n_classes}, 4)
    for c in range(n_classes):
        (data / "images" / "train" / f"train{c}").rename(data / "images" / f"bird{c}")
    (data / "images" / "train").rmdir()
    (data / "images").rename(data / "flat")
    return [*made, "dataset.folder=flat", *TASK, "task.n_way=5", f"paths.data={data}"]


@pytest.mark.parametrize("n_classes", [17, 24])
def test_fractions_are_proposed_with_which_the_task_fits(
    data: Path, n_classes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    name = flat(data, n_classes)
    assert main(["plan", *name]) == 2
    (proposed,) = {*re.findall(r"dataset\.fractions=\S+\]", capsys.readouterr().err)}
    assert main(["plan", *name, proposed]) == 0


def test_no_fractions_are_proposed_where_none_fit_and_where_folders_divide_the_classes(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *flat(data, 14)]) == 2
    error = capsys.readouterr().err
    assert "Lower task.n_way, or give more classes: 14 are too few for 5 for train, 5 for val and 5 for test" in error
    assert main(["plan", *images(data, {"train": 9, "val": 2, "test": 5}, 4), *TASK, f"paths.data={data}"]) == 2
    error = capsys.readouterr().err
    assert "the val split of" in error
    assert "fractions" not in error


def next_train(out: str) -> list[str] | None:
    """The command that ``metaexp data`` offers for training; None where there is none."""
    lines = [line for line in out.partition("next:")[2].splitlines() if line.startswith("  metaexp train ")]
    return shlex.split(lines[0], comments=True)[1:] if lines else None


@pytest.mark.parametrize("make", [images, arrays, tar])
def test_data_that_are_too_small_for_the_task_are_shown_with_tasks_that_fit(
    data: Path, make: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    name = [*make(data, CLASSES, 4), *TASK, "task.n_query=5", f"paths.data={data}"]
    assert main(["data", *name, "--figure", "examples.png"]) == 0
    out = capsys.readouterr().out
    assert (data.parent / "examples.png").is_file()
    assert re.search(r"val +2 +8 +4\n", out)
    assert "tasks: up to 2 ways, up to 4 examples of a class, shots and queries together" in out
    assert "needs as many classes; the val split of" in out
    assert "These fit: task.n_way=2 task.n_query=3\n" in out
    assert "Fewer than" not in out, "classes are named, but not where all are small"
    command = next_train(out)
    assert command is not None
    assert main([*command, "--cfg", "job"]) == 0
    assert main([*command[:-1], "--cfg", "job"]) == 2


def test_data_that_fit_are_trained_on_as_they_are_asked_for(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = [*arrays(data, {**CLASSES, "val": 3}, 4), *TASK, f"paths.data={data}"]
    assert main(["data", *name]) == 0
    out = capsys.readouterr().out
    assert "do not fit" not in out
    assert next_train(out) == ["train", *name]


def test_small_classes_are_named_and_nothing_is_trained_on_them(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = [*images(data, {"train": 5, "val": 4, "test": 4}, 6), *TASK, f"paths.data={data}"]
    for path in list((data / "images" / "val" / "val1").glob("*.png"))[1:]:
        path.unlink()
    assert main(["data", *name]) == 0
    out = capsys.readouterr().out
    assert "Fewer than 3 examples: val/val1 (1).\n" in out
    assert "(together at most 1)" not in out
    assert "or leave out small classes: dataset.min_images=3." in out
    assert next_train(out) is None
    assert main(["data", *name, "dataset.min_images=3"]) == 0
    assert next_train(capsys.readouterr().out) is not None


def test_training_tasks_that_are_set_apart_are_made_smaller_by_themselves(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = [*arrays(data, {**CLASSES, "val": 3}, 4), *TASK, "train.n_way=9", f"paths.data={data}"]
    assert main(["data", *name]) == 0
    assert "These fit: train.n_way=5\n" in capsys.readouterr().out


def test_regression_tasks_that_are_too_small_are_shown_with_shots_that_fit(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"t{task},{i},{i}" for task in range(6) for i in range(25 if task != 4 else 5)]
    (data / "table.csv").write_text("\n".join(["task,x,y", *rows, ""]))
    name = ["dataset=regression_table", "device=cpu", f"paths.data={data}"]
    assert main(["data", *name]) == 0
    out = capsys.readouterr().out
    assert "tasks: up to 5 examples of a task, shots and queries together" in out
    assert "or leave out small tasks: dataset.min_examples=20." in out
    assert "These fit: task.k_shot=4 task.n_query=1\n" in out
    command = next_train(out)
    assert command is not None
    assert main([*command, "--cfg", "job"]) == 0


def test_the_examination_of_a_dataset_needs_tasks_that_fit(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAEXP_DATA", str(data))
    name = arrays(data, {**CLASSES, "train": 6}, 6)
    assert main(["check", *name]) == 2
    assert "task.n_way=5 needs as many classes; the val split of" in capsys.readouterr().err
    arrays(data, {"train": 6, "val": 5, "test": 5}, 6)
    assert main(["check", *name]) == 0


@pytest.mark.parametrize("name", ["image_folder", "arrays"])
def test_files_that_are_not_there_are_reported_by_loading(
    data: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", f"dataset={name}", *TASK, f"paths.data={data}"]) == 0
    assert main(["data", f"dataset={name}", *TASK, f"paths.data={data}"]) == 3
    assert "there is no" in capsys.readouterr().err


def _doubled(data: Path) -> list[str]:
    with zipfile.ZipFile(data / "images.zip", "w") as archive:
        for name in ("a/0.png", "b/0.png", "./b/0.png"):
            archive.writestr(name, b"")
    return ["dataset=image_folder", "dataset.folder=images.zip"]


def _shifted(data: Path) -> list[str]:
    name = arrays(data, {**CLASSES, "val": 3}, 4)
    with np.load(data / "arrays.npz") as stored:
        made = dict(stored)
    made["y_train"], made["y_val"] = made["y_train"][:-1], np.append(made["y_val"], made["y_val"][-1])
    np.savez(data / "arrays.npz", **made)
    return name


@pytest.mark.parametrize("make", [_doubled, _shifted])
@pytest.mark.parametrize("verb", [["train"], ["train", "-m", "seed=0,1"], ["plan", "seed=0,1"], ["data"]])
def test_files_that_are_wrong_are_one_line_of_every_verb_before_anything_starts(
    data: Path, make: Callable[..., list[str]], verb: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*verb, *make(data), *TASK, f"paths.data={data}"]) == 3
    assert "Reading" not in (error := capsys.readouterr().err)
    assert " twice. Pack " in error or "x_train has 20 examples and y_train has 19" in error
    assert not (data.parent / "outputs").exists()


def test_wrong_files_are_reported_after_all_problems_of_the_configuration(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *_doubled(data), *TASK, f"paths.data={data}", "train.steps=-1"]) == 2
    assert "train.steps" in capsys.readouterr().err


def test_a_large_compressed_archive_is_counted_by_loading_and_refused_before_the_first_step(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaexp.data.files.archives._QUICK", 100)
    assert main(["train", *tar(data, CLASSES, 4), *TASK, f"paths.data={data}"]) == 2
    assert "task.n_way=3 needs as many classes; the val split of" in capsys.readouterr().err
    assert list((data.parent / "outputs").glob("*/metrics.jsonl")) == []


SUPERVISED = ["algorithm=fine_tune", "task.n_way=3", "task.n_query=2", "tracker=files", "device=cpu", "model=conv4"]


@pytest.mark.parametrize("verb", [["train"], ["train", "-m", "seed=0,1"], ["plan", "seed=0,1"]])
def test_a_supervised_batch_larger_than_the_split_is_found_by_every_verb(
    data: Path, verb: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["dataset.train_classes=5", "dataset.val_classes=3", "dataset.test_classes=3", "dataset.per_class=4"]
    assert main([*verb, *SUPERVISED, *small, "train.meta_batch_size=21", f"paths.data={data}"]) == 2
    error = capsys.readouterr().err
    assert "train.meta_batch_size=21 examples are more than the 20 that glyphs has for train. Lower it." in error
    assert not (data.parent / "outputs").exists()


def test_a_supervised_batch_larger_than_a_folder_of_images_is_refused_before_the_first_step(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = images(data, {**CLASSES, "val": 3}, 4)
    assert main(["train", *SUPERVISED, *name, "train.meta_batch_size=21", f"paths.data={data}"]) == 2
    assert "examples are more than the 20 that images has for train" in capsys.readouterr().err
    assert list((data.parent / "outputs").glob("*/metrics.jsonl")) == []
