"""A split that is too small for the task, known only from the files, is found before anything starts, by every verb."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaexp.cli.main import main

TASK = ["algorithm=proto_net", "task.n_way=3", "task.k_shot=1", "task.n_query=2", "tracker=files", "device=cpu"]
CLASSES = {"train": 5, "val": 2, "test": 3}


def images(data: Path, classes: dict[str, int], per_class: int) -> list[str]:
    for split, n in classes.items():
        for c in range(n):
            folder = data / "images" / split / f"{split}{c}"
            folder.mkdir(parents=True)
            for i in range(per_class):
                Image.new("L", (28, 28), 10 * c + i).save(folder / f"{i}.png")
    return ["dataset=image_folder", "dataset.image_size=28", "dataset.channels=1"]


def arrays(data: Path, classes: dict[str, int], per_class: int) -> list[str]:
    made = {}
    for number, (split, n) in enumerate(classes.items()):
        made[f"x_{split}"] = np.random.default_rng(number).random((n * per_class, 1, 28, 28)).astype(np.float32)
        made[f"y_{split}"] = np.repeat(np.arange(n) + 100 * number, per_class)
    np.savez(data / "arrays.npz", **made)
    return ["dataset=arrays"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.mark.parametrize("make", [images, arrays])
@pytest.mark.parametrize("verb", [["train"], ["train", "-m", "seed=0,1"], ["plan", "seed=0,1"], ["data"]])
def test_a_small_validation_split_is_found_by_every_verb(
    data: Path, make: Callable[..., list[str]], verb: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = make(data, CLASSES, 4)
    assert main([*verb, *name, *TASK, f"paths.data={data}"]) == 2
    assert "task.n_way=3 needs as many classes; the val split of" in capsys.readouterr().err
    assert not (data.parent / "outputs").exists()


@pytest.mark.parametrize("make", [images, arrays])
def test_too_few_examples_in_a_class_are_found_and_enough_are_taken(
    data: Path, make: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    name = [*make(data, {**CLASSES, "val": 3}, 4), *TASK, f"paths.data={data}"]
    assert main(["data", *name]) == 0
    assert main(["data", *name, "task.n_query=5"]) == 2
    assert "need 6 examples per class" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["image_folder", "arrays"])
def test_files_that_are_not_there_are_reported_by_loading(
    data: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", f"dataset={name}", *TASK, f"paths.data={data}"]) == 0
    assert main(["data", f"dataset={name}", *TASK, f"paths.data={data}"]) == 3
    assert "there is no" in capsys.readouterr().err
