"""A dataset whose class a user wrote is looked at as a file is: examples in two splits, values that are too large."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from metaexp.core.errors import MissingDataError
from metaexp.core.shapes import Split, TaskShape
from metaexp.data.arrays import Arrays
from metaexp.data.base import Dataset, MetaDataset, Progress
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.own_examples import load_and_warn
from metaexp.data.classification.preprocessing import Origin
from metaexp.data.inventory.overview import load_and_count
from metaexp.doctor.dataset import examine_dataset

SPLITS: dict[Split, list[str]] = {"train": ["a", "b"], "val": ["c"], "test": ["d", "e"]}


class Own(Dataset):
    """Images (10, 1, 6, 6) of five classes."""

    kind = "classification"

    def __init__(self, images: Tensor, splits: dict[Split, list[str]] = SPLITS) -> None:
        self.images = images
        self.splits = splits

    def capacity(self) -> None:
        """Only what is loaded tells."""

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        return ClassDataset(Origin("mine", "0"), self.images, dict.fromkeys("abcde", 2), self.splits)


class Published(Own):
    """One of metaexp's own, which has warned already."""


Published.load = lambda self, folder, progress: Own.load(self, folder, progress)  # type: ignore[method-assign]
Published.__module__ = "metaexp.data.published"


def images() -> Tensor:
    return torch.randint(0, 256, (10, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def said(images: Tensor, cls: type[Own] = Own, splits: dict[Split, list[str]] = SPLITS) -> list[str]:
    lines: list[str] = []
    load_and_warn(cls(images, splits), Path(), lines.append)
    return lines


def test_good_images_bring_no_warning() -> None:
    assert said(images()) == []
    assert said(images() / 255.0) == []


@pytest.mark.parametrize("shape", [(), (4,), (0,), (7, 4), (5, 6, 6)])
def test_examples_of_any_shape_are_looked_at_without_a_training_split_and_with_gradients(
    shape: tuple[int, ...],
) -> None:
    examples = torch.randn(10, *shape, generator=torch.Generator().manual_seed(0))
    for splits in (SPLITS, {"test": ["a", "b"]}, {"train": [], "test": ["a", "b"]}):
        assert said(examples, splits=splits) == []
        assert said(examples.clone().requires_grad_(), splits=splits) == []
    if examples.numel():
        large = "values of the training split of mine are up to"
        assert any(large in line for line in said(examples * 1e4))
        assert not any(large in line for line in said(examples * 1e4, splits={"test": ["a", "b"]}))


def same_in_test(images: Tensor) -> Tensor:
    images[6:8] = images[0:2]
    return images


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (same_in_test(images()), "the test split has 2 of its 4 examples in the train split"),
        (images().float(), "are floats from 0 to 255"),
        (images() // 8, "all are dark"),
        (torch.cat([images()[:4] / 255.0, images()[4:].float()]), "different scales"),
    ],
)
def test_what_is_suspicious_is_said(wrong: Tensor, expected: str) -> None:
    lines = said(wrong)
    assert any(expected in line for line in lines), lines
    assert said(wrong, Published) == []


def with_some(shape: tuple[int, ...], number: float, rows: list[int]) -> Tensor:
    """Examples (10, ...) whose rows hold one ``number`` each, as their last value."""
    examples = torch.randn(10, *shape, generator=torch.Generator().manual_seed(0))
    examples.view(10, -1)[rows, -1] = number
    return examples


@pytest.mark.parametrize("shape", [(4,), (7, 4), (1, 6, 6), (5, 6, 6)])
@pytest.mark.parametrize(
    ("number", "rows", "where"),
    [(float("nan"), [1, 4, 5], "nan in example 1 of class a"), (float("-inf"), [9], "-inf in example 1 of class e")],
)
def test_values_that_are_not_finite_are_counted_and_nothing_is_said_of_their_size(
    shape: tuple[int, ...], number: float, rows: list[int], where: str
) -> None:
    examples = with_some(shape, number, rows)
    (line,) = said(examples)
    share = f"{len(rows)} of the {examples.numel():,} values of mine"
    assert line == (
        f"Warning: {share} are not finite, the first of them {where}. Networks and losses that are not made for "
        "missing values compute NaN from them, and then nothing is learned. Leave out examples where a value is "
        "missing, or fill it in."
    )
    assert said(examples, Published) == []


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_values_of_which_none_is_a_number_bring_one_line(number: float) -> None:
    (line,) = [one for one in said(torch.full((10, 4), number)) if "byte for byte" not in one and "twice" not in one]
    assert line.startswith(f"Warning: all 40 values of mine are not finite, the first of them {number} in example 0 of")


def test_metaexp_data_says_it_too(tmp_path: Path) -> None:
    lines: list[str] = []
    load_and_count(Own(images().float()), tmp_path, lines.append)
    assert any("are floats from 0 to 255" in line for line in lines)


def test_what_a_base_class_of_metaexp_has_said_is_not_said_again(tmp_path: Path) -> None:
    class Mine(Arrays):
        def load(self, folder: Path, progress: Progress) -> ClassDataset:
            return super().load(folder, progress)

    x = same_in_test(images().float()).numpy()
    np.savez(tmp_path / "birds.npz", x=x, y=np.repeat(list("abcde"), 2))
    lines: list[str] = []
    load_and_count(Mine("birds.npz", [0.4, 0.2, 0.4], 0, False, None, "none", "all"), tmp_path, lines.append)
    assert sum("byte for byte" in line for line in lines) == 1
    assert sum("are floats from 0 to 255" in line for line in lines) == 1


class Reads(Own):
    """Reads its images from a file."""

    def __init__(self, place: Path) -> None:
        super().__init__(images())
        self.place = place

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        with np.load(folder / self.place) as file:
            self.images = torch.from_numpy(file["x"])
        return super().load(folder, progress)


def test_a_file_that_is_not_there_is_missing_data_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "there.npz", x=images().numpy())
    load_and_warn(Reads(Path("there.npz")), tmp_path, print)
    missing = re.escape(f"Reads.load opens {tmp_path / 'gone.npz'}, which is not there. Put the file there")
    for look in (load_and_warn, lambda own, folder, _: examine_dataset(lambda: own, folder, TaskShape(1, 1, 1))):
        with pytest.raises(MissingDataError, match=missing) as caught:
            look(Reads(Path("gone.npz")), tmp_path, print)
        assert f"paths.data={tmp_path}" in str(caught.value)
        assert caught.value.exit_code == 3
    monkeypatch.chdir(tmp_path)
    said = re.escape(f"opens gone.npz, which is not there in the current folder {tmp_path}")
    with pytest.raises(MissingDataError, match=said):
        load_and_warn(Reads(Path("gone.npz")), Path(), print)


def test_a_program_that_is_not_there_is_not_taken_for_a_file_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def unpack(self: Own, folder: Path, progress: Progress) -> MetaDataset:
        subprocess.run(["no_such_unpacker", "images.rar"], check=True)
        raise AssertionError

    monkeypatch.setattr(Own, "load", unpack)
    with pytest.raises(FileNotFoundError, match="no_such_unpacker"):
        load_and_warn(Own(images()), Path(), print)


def test_an_error_of_own_code_that_names_no_file_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Own, folder: Path, progress: Progress) -> MetaDataset:
        raise FileNotFoundError("the server knows no such set")

    monkeypatch.setattr(Own, "load", refuse)
    with pytest.raises(FileNotFoundError, match="the server knows no such set"):
        load_and_warn(Own(images()), Path(), print)
