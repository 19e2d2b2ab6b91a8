import errno
import io
import warnings
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from class_datasets import tiny_dataset
from PIL import Image

from metaexp.core.shapes import Capacity, Split, TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.data.base import Dataset, MetaDataset, Progress, TaskSource
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.preprocessing import Origin, Pixels
from metaexp.data.inventory.overview import contact_sheet, load_and_count
from metaexp.results.figures.style import save

SIZES = {"train": [4, 6, 5], "val": [7, 7], "test": [3, 3, 3]}


class Given(Dataset):
    """A dataset that is there already."""

    kind = "classification"

    def __init__(self, loaded: MetaDataset) -> None:
        self.loaded = loaded

    def capacity(self) -> Mapping[Split, Capacity] | None:
        return None

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        progress("loading")
        return self.loaded


class Waves(MetaDataset, TaskSource):
    """A regression family: y = height * x, or the rest of a sequence."""

    kind = "regression"
    digest = "1" * 64

    def __init__(self, input_shape: tuple[int, ...], height: float) -> None:
        self.input_shape = input_shape
        self.target_size = 1 if len(input_shape) == 1 else 4
        self.height = height

    def capacity(self) -> None:
        return

    def tasks(self, shape: TaskShape, seed: int) -> "Waves":
        self.shape = shape
        return self

    def episodes(self, split: Split, indices: torch.Tensor) -> Episode:
        def examples(n: int) -> Examples:
            x = (
                torch.linspace(-1, 1, n)
                .view(1, n, *[1] * len(self.input_shape))
                .expand(len(indices), n, *self.input_shape)
            )
            return Examples(x, self.height * x.flatten(2)[..., :1].expand(-1, -1, self.target_size) ** 2)

        return Episode(examples(self.shape.n_support), examples(self.shape.n_queries))

    def batches(self, batch_size: int, seed: int) -> TaskSource:
        raise NotImplementedError

    def bank_hash(self, split: Split, n_episodes: int) -> str:
        raise NotImplementedError

    def to(self, device: torch.device) -> MetaDataset:
        return self


def sheet(loaded: MetaDataset, path: Path) -> np.ndarray:
    save(contact_sheet(loaded), path, dpi=100)
    return np.asarray(Image.open(path).convert("RGB"), np.float64)


def test_the_report_counts_classes_and_examples_and_names_conventions(tmp_path):
    tiny = tiny_dataset(SIZES, "classes", "train", Pixels(True, (0.5,), (0.25,)))
    lines: list[str] = []
    report, loaded = load_and_count(Given(tiny), tmp_path, lines.append)
    assert loaded is tiny
    assert lines == ["loading"]
    assert report.rows == [("train", 12, 60, 4, 6), ("val", 2, 14, 7, 7), ("test", 3, 9, 3, 3)]
    text = report.format()
    assert text.splitlines()[0] == "tiny: classification, examples of shape 1x6x6"
    for expected in (
        "train 12 60 4 to 6",
        "val 2 14 7",
        tiny.digest,
        "255 is 0.0, 0 is 1.0",
        "mean [0.5], std [0.25]",
        "classes, in training only",
        str(tmp_path / "cache"),
        "loaded in 0.",
    ):
        assert expected in " ".join(text.split())


def test_the_values_in_the_report_are_those_to_normalise_by(tmp_path):
    images = torch.zeros(40, 2, 4, 4, dtype=torch.uint8)
    images[:, 0, :2] = 255
    images[:, 1] = 51
    loaded = ClassDataset(Origin("halves", "0" * 64), images, {"a": 40}, {"train": ["a"]})
    report, _ = load_and_count(Given(loaded), tmp_path, print)
    assert report.facts["values"] == "mean 0.5000, 0.2000; standard deviation 0.5000, 0.0000 (40 examples)"


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_shows_different_images_differently(tmp_path, channels):
    def of(images: torch.Tensor) -> ClassDataset:
        return ClassDataset(Origin("tiny", "0" * 64), images, {"a": 2, "b": 2}, {"train": ["a"], "test": ["b"]})

    dark = torch.zeros(4, channels, 8, 8, dtype=torch.uint8)
    drawn = dark.clone()
    drawn[:, :, 2:4] = 255
    blank, shown = sheet(of(dark), tmp_path / "new" / "blank.png"), sheet(of(drawn), tmp_path / "shown.png")
    assert blank.shape == shown.shape
    assert np.abs(blank - shown).mean() > 1
    assert np.array_equal(shown, sheet(of(drawn), tmp_path / "again.png"))


def test_sequences_are_drawn_as_lines(tmp_path):
    def of(height: float) -> ClassDataset:
        x = torch.zeros(6, 12, 1)
        x[::2, 5] = height
        return ClassDataset(Origin("lines", "0" * 64), x, {"a": 3, "b": 3}, {"train": ["a", "b"]})

    assert np.abs(sheet(of(0.0), tmp_path / "flat.png") - sheet(of(5.0), tmp_path / "peaks.png")).mean() > 0.1


@pytest.mark.parametrize("input_shape", [(1,), (6, 1)])
def test_regression_families_are_described_and_drawn_by_tasks(tmp_path, input_shape, monkeypatch):
    monkeypatch.setattr("metaexp.data.inventory.overview._CURVES_SHOWN", 2)
    report, loaded = load_and_count(Given(Waves(input_shape, 1.0)), tmp_path, print)
    assert report.rows == []
    assert "regression" in report.format()
    other = sheet(Waves(input_shape, -1.0), tmp_path / "other.png")
    assert np.abs(sheet(loaded, tmp_path / "tasks.png") - other).mean() > 0.1


def test_a_full_disk_leaves_no_half_of_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny_dataset(SIZES, "classes", "train", Pixels(True, (0.5,), (0.25,)))

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(contact_sheet(loaded), tmp_path / "examples.png", dpi=100)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    save(contact_sheet(loaded), tmp_path / "examples.png", dpi=100)
    assert [path.name for path in tmp_path.iterdir()] == ["examples.png"]


NAMES = ["日本", "us$", "$_{$", r"$\frac$", "100$ to 200$", "بيت", "emoji \N{GRINNING FACE}", "a_b^c"]


@pytest.mark.parametrize("is_image", [True, False])
def test_names_in_other_scripts_and_with_dollars_are_drawn_as_they_are(is_image: bool, tmp_path: Path) -> None:
    x = torch.rand(len(NAMES) * 2, *((1, 6, 6) if is_image else (5,)))
    dataset = ClassDataset(Origin("$_{$ 猫", ""), x, dict.fromkeys(NAMES, 2), {"test": NAMES}, Pixels())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = contact_sheet(dataset)
        save(figure, tmp_path / "sheet.png", dpi=100)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == NAMES
    labels = {label.get_text(): label for label in axes.get_yticklabels()}
    width = {name: labels[name].get_window_extent().width for name in ("us$", "100$ to 200$")}
    assert width["100$ to 200$"] > 2 * width["us$"]
    assert axes.yaxis.get_tightbbox().x0 >= 0, "the widest name is not cut off"


@pytest.mark.parametrize("sizes", [SIZES, {"train": [30] * 12, "val": [12, 2], "test": [1]}])
def test_images_have_one_size_in_all_splits_whatever_these_hold(sizes):
    figure = contact_sheet(tiny_dataset(sizes, "none", "all", Pixels(False, None, None)))
    figure.savefig(io.BytesIO(), dpi=100)
    found = []
    for axes in figure.axes:
        (image,) = axes.get_images()
        corners = axes.transData.transform([(0.0, 0.0), image.get_array().shape[1::-1]])
        width, height = abs(corners[1] - corners[0])
        rows, columns = (n // 7 for n in image.get_array().shape[:2])  # 6 pixels and a line
        found.append((width / columns, height / rows))
        around = axes.get_tightbbox()
        assert figure.bbox.x0 <= around.x0
        assert around.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= around.y0
        assert around.y1 <= figure.bbox.y1
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert all(above.y0 > below.y1 for above, below in pairwise(boxes))
    assert np.ptp(found) < 0.5, "pixels, both ways and between splits"
    assert np.min(found) > 40
