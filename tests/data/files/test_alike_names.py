"""Classes and tasks that are the same but for capitals, blanks, accents or the form of a number are warned of."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaexp.config.classes.make import make
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.data.base import Dataset
from metaexp.data.files.alike_names import warn_of_alike_names

ACCENT = "caf\u00e9"


def said(*names: str) -> list[str]:
    lines: list[str] = []
    warn_of_alike_names(names, "class", Path("birds"), lines.append)
    return lines


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Robin", "robin"),
        ("great tit", "great  tit"),
        ("wren", "wren "),
        (ACCENT, unicodedata.normalize("NFD", ACCENT)),
        ("train/Robin", "test/robin"),
        ("birds/training/Robin", "birds/val/robin"),
        ("3", "3.0"),
        ("07", "7"),
        ("-0.50", "-0.5"),
        ("train/10", "test/10.0"),
    ],
)
def test_names_that_differ_in_writing_alone_are_named(one: str, other: str) -> None:
    (line,) = said("owl", one, other)
    assert line.startswith(
        f"Warning: birds: the classes {one!r} and {other!r} differ only in how they are written. They "
    )
    assert line.endswith("if they are the same, give them one name.")


@pytest.mark.parametrize(
    "names",
    [
        ("A", "a"),
        ("robin", "robins"),
        ("wing_1", "wing-1"),
        ("x/Robin", "y/robin"),
        ("-12", "12"),
        ("m2", "m\u00b2"),
        ("1", "10"),
        ("20240101000001", "20240101000002"),
        ("v1.0", "v1"),
        ("1.0.0", "1.0"),
        ("nan", "inf"),
        ("3", "\u0663"),
    ],
)
def test_names_of_one_letter_and_other_names_are_left_alone(names: tuple[str, ...]) -> None:
    assert said(*names) == []


def test_many_are_counted() -> None:
    (line,) = said("a1", "b1", "c1", "A1", "B1", "C1")
    assert "'a1' and 'A1' differ only in how they are written. So do 2 others." in line


def images(folder: Path, names: list[str]) -> str:
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        Image.new("L", (4, 4), 10 * number).save(folder / name / "1.png")
    return f"dataset.folder={folder}"


def image_folder(folder: Path, names: list[str]) -> list[str]:
    return ["dataset=image_folder", images(folder / "images", names)]


def image_list(folder: Path, names: list[str]) -> list[str]:
    place = images(folder / "images", [str(number) for number in range(len(names))])
    lines = ["file,label", *(f"{number}/1.png,{name}" for number, name in enumerate(names)), ""]
    (folder / "list.csv").write_text("\n".join(lines))
    return ["dataset=image_folder", place, f"dataset.labels={folder / 'list.csv'}"]


def arrays(folder: Path, names: list[str]) -> list[str]:
    np.savez(folder / "mine.npz", x=np.eye(len(names)), y=np.array(names))
    return ["dataset=arrays", f"dataset.file={folder / 'mine.npz'}"]


def table(folder: Path, names: list[str]) -> list[str]:
    np.savez(folder / "mine.npz", x=np.arange(len(names)), y=np.arange(len(names)), task=np.array(names))
    return ["dataset=regression_table", f"dataset.file={folder / 'mine.npz'}"]


def series(folder: Path, names: list[str]) -> list[str]:
    values = np.arange(4.0 * len(names))
    np.savez(folder / "mine.npz", values=values, series=np.repeat(np.array(names), 4))
    return ["dataset=time_series", f"dataset.file={folder / 'mine.npz'}", "dataset.length=2", "dataset.horizon=1"]


@pytest.mark.parametrize("make_files", [image_folder, image_list, arrays, table, series])
@pytest.mark.parametrize(("names", "n_lines"), [(["Robin", "robin", "wren", "owl"], 1), (["Robin", "wren", "owl"], 0)])
def test_all_data_of_ones_own_are_looked_at(tmp_path: Path, make_files, names: list[str], n_lines: int) -> None:
    settings = Composer().settings([*make_files(tmp_path, names), f"paths.data={tmp_path}"], Purpose.LOOK)
    lines: list[str] = []
    make(settings.dataset, Dataset).load(tmp_path, lines.append)
    assert len([line for line in lines if "differ only in how they are written" in line]) == n_lines
