"""New examples from image files, an .npz file or a table, prepared as the dataset of a run prepares its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from metaexp.core.counted import counted
from metaexp.core.disk.nearest import format_nearest_path
from metaexp.core.errors import ConfigError, DataError
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.preprocessing import ImagePreparation, Origin, Pixels
from metaexp.data.files.archives import open_source
from metaexp.data.files.folders import ignored_lines, images_by_folder, is_example
from metaexp.data.files.images import MOST_BYTES, own_reading, read_image
from metaexp.data.files.labelled_arrays import examples_of
from metaexp.data.files.npz import read_npz
from metaexp.data.files.progress import Progress
from metaexp.data.pixels.reading_log import ReadingLog
from metaexp.data.regression.new_rows import read_new_rows
from metaexp.data.regression_table import RegressionTable
from metaexp.data.values.refused_values import FOR_NAMES, label_advice

_MOST = 100_000
"""Examples of a support or query set."""


class NewExamples(NamedTuple):
    """Examples that are ready for a learner.

    Attributes:
        x: (B, ...) float32.
        names: What each is called: the name of its file, or its number in the array or table.
        y: Labels (B,) or targets (B, D_out); None where there are none.
    """

    x: Tensor
    names: list[str]
    y: npt.NDArray[Any] | None


class Reader:
    """Reads examples for a run.

    Args:
        preparation: How its dataset prepares images; None where that is not known.
        input_shape: The shape of one example.
        is_regression: Whether its tasks are regression.
        dataset: What messages call the dataset.
        report: Takes a line about images that were changed to be read, and warnings.
        table: The dataset, if it is a table. Then a file is read as a table, by its columns, unless it holds arrays.
    """

    def __init__(
        self,
        preparation: ImagePreparation | None,
        input_shape: tuple[int, ...],
        is_regression: bool,
        dataset: str,
        report: Progress = lambda _: None,
        table: RegressionTable | None = None,
    ) -> None:
        self.preparation = preparation
        self.input_shape = input_shape
        self.is_regression = is_regression
        self.dataset = dataset
        self._report = report
        self._table = table

    def support(self, path: Path) -> NewExamples:
        """Read labelled examples: a folder for each class, an .npz file with x and y, or a table.

        Raises:
            DataError: There are no examples, or they cannot be read.
            ConfigError: The examples do not fit the run.
        """
        if is_array_file(path):
            return self._arrays(path, needs_y=True)
        if self._table is not None and path.is_file():
            return self._rows(path, self._table, needs_y=True)
        files = self._files(path, "--support")
        if "" in files:
            raise DataError(
                f"--support {path}: {files[''][0]} lies in no class folder. Put the images of each class into a folder "
                "that has its name."
            )
        names = [name for images in files.values() for name in images]
        labels = [folder for folder, images in files.items() for _ in images]
        return NewExamples(self._images(path, names), names, np.array(labels))

    def query(self, path: Path) -> NewExamples:
        """Read examples without labels: images in any folders, one image, an .npz file with x, or a table.

        Raises:
            DataError: There are no examples, or they cannot be read.
            ConfigError: The examples do not fit the run.
        """
        if is_array_file(path):
            return self._arrays(path, needs_y=False)
        if self._table is not None and path.is_file():
            return self._rows(path, self._table, needs_y=False)
        names = sorted(name for images in self._files(path, "--query").values() for name in images)
        return NewExamples(self._images(path.parent if is_image_file(path) else path, names), names, None)

    def _files(self, path: Path, option: str) -> dict[str, list[str]]:
        if not path.exists():
            raise DataError(f"{option} {path}: there is no such folder or file.{format_nearest_path(path)}")
        prepared = self.preparation
        if self.is_regression or prepared is None or not prepared.size:
            is_table = self._table is not None
            targets = "one row of targets" if self.is_regression else "one label"
            raise ConfigError(
                f"{option} {path}: the dataset of this run, {self.dataset}, reads no image files"
                f"{'' if is_table else ' and no tables'}. Give "
                f"{'a CSV with the columns of its own, or ' if is_table else ''}an .npz file with x of "
                f"shape (B, {', '.join(map(str, self.input_shape))})"
                f"{f' and y with {targets} for each of the B examples' if option == '--support' else ''}."
            )
        if is_image_file(path):
            return {"": [path.name]}
        with open_source(path) as source:
            names = source.names()
            files = images_by_folder(names)
            others = ignored_lines(names, source.ignored, path, in_classes=False)
        n_files = sum(map(len, files.values()))
        if not 0 < n_files <= _MOST:
            wanted = f"there must be at least one, and at most {_MOST}."
            raise DataError(" ".join([f"{option} {path} has {counted(n_files, 'image')}; {wanted}", *others]))
        for line in others:
            self._report(line)
        return files

    def _images(self, path: Path, names: list[str]) -> Tensor:
        prepared = self.preparation
        assert prepared is not None
        reading = own_reading(prepared, has_range_key=False)
        rows = {name: row for row, name in enumerate(names)}
        images = np.zeros((len(names), prepared.channels, prepared.size, prepared.size), np.uint8)
        log = ReadingLog(str(path), reading)
        with open_source(path) as source:
            for name, content in source.items(rows, MOST_BYTES):
                read = read_image(content, str(path), name, reading)
                images[rows[name]] = read.pixels
                log.add(read, name)
        log.values.warn(self._report)
        for line in log.lines():
            self._report(f"{path}:{line}")
        return self._fitting(as_floats(images, prepared.pixels), f"images in {path}")

    def _arrays(self, path: Path, *, needs_y: bool) -> NewExamples:
        if not path.exists():
            raise DataError(f"there is no file {path}.{format_nearest_path(path, kind='file')}")
        arrays = read_npz(path, ["x", "y"])
        if "x" not in arrays or (needs_y and "y" not in arrays):
            wanted = "x and y" if needs_y else "x"
            raise DataError(f"{path} has {', '.join(arrays) or 'no array x or y'}; it must have {wanted}.")
        x = arrays["x"]
        if self.is_regression and x.dtype.kind in "iuf":
            x = x.astype(np.float32).reshape(len(x), -1) if x.ndim == 1 else x.astype(np.float32)
        found = examples_of(x, "x", path)
        if not 0 < len(found) <= _MOST:
            raise DataError(f"{path}: x has {len(found)} examples; there must be at least one, and at most {_MOST}.")
        if found.dtype == np.uint8:
            pixels = self.preparation.pixels if self.preparation is not None else Pixels()
            examples = as_floats(np.ascontiguousarray(found), pixels)
        else:
            examples = torch.from_numpy(np.array(found, dtype=np.float32))
        y = self._labels(arrays["y"], len(found), path) if needs_y else None
        return NewExamples(self._fitting(examples, str(path)), [str(row) for row in range(len(found))], y)

    def _rows(self, path: Path, table: RegressionTable, *, needs_y: bool) -> NewExamples:
        found = read_new_rows(path, table.inputs, table.targets, table.task, needs_y=needs_y)
        if len(found.x) > _MOST:
            raise DataError(f"{path} has {len(found.x)} examples; there must be at most {_MOST}.")
        for line in found.notes:
            self._report(line)
        return NewExamples(
            self._fitting(torch.from_numpy(found.x.copy()), str(path)), [str(row) for row in range(len(found.x))],
            found.y,
        )  # fmt: skip

    def _labels(self, y: npt.NDArray[Any], n_examples: int, path: Path) -> npt.NDArray[Any]:
        kinds = "iuf" if self.is_regression else "iuU"
        if y.dtype.kind not in kinds or not y.ndim or len(y) != n_examples:
            what = "one target, or one row of targets," if self.is_regression else "one whole number or text"
            advice = "" if y.dtype.kind in kinds or self.is_regression else f" {label_advice(y, 'y', FOR_NAMES)}"
            raise DataError(
                f"{path}: y is {y.dtype} of shape {y.shape}; give {what} for each of {n_examples} examples.{advice}"
            )
        return y

    def _fitting(self, x: Tensor, what: str) -> Tensor:
        if tuple(x.shape[1:]) != tuple(self.input_shape):
            raise ConfigError(
                f"{what}: an example has shape {tuple(x.shape[1:])}; this run takes {tuple(self.input_shape)}."
            )
        return x


def is_array_file(path: Path) -> bool:
    """Whether a path names arrays, not images."""
    return path.suffix.lower() in (".npz", ".npy")


def is_image_file(path: Path) -> bool:
    """Whether a path names one image, not a folder or an archive of images."""
    return path.is_file() and is_example(path.name)


def as_floats(images: npt.NDArray[np.uint8], pixels: Pixels) -> Tensor:
    """Return images (B, C, H, W) uint8 as float32, by the code that does it for a dataset in a run.

    Args:
        images: (B, C, H, W), uint8.
        pixels: How the run scales and normalises images.
    """
    dataset = ClassDataset(
        Origin("new examples", ""), torch.from_numpy(images.copy()), {"": len(images)}, {"test": [""]}, pixels
    )
    return dataset.examples(torch.arange(len(images)))
