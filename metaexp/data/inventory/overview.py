"""What is in a dataset: a table for the terminal and a figure, for ``metaexp data``."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from metaexp.core.counted import counted
from metaexp.core.shapes import SPLITS, Split, TaskShape
from metaexp.data.base import Dataset, MetaDataset, Progress
from metaexp.data.cache.place import cache_folder
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.own_examples import load_and_warn
from metaexp.data.mixture.data import MixtureData
from metaexp.data.regression.table_tasks import TableData

_CLASSES_SHOWN: Final = 8
_EXAMPLES_SHOWN: Final = 10
_CURVES_SHOWN: Final = 4
_CELL: Final = 0.65
"""Inches of an image."""
_TITLE: Final = 0.35
"""Inches of the title above images."""
_MARGIN: Final = 0.25
_LEAST_WIDTH: Final = 3.5
"""Inches that a title has at least."""
_SAMPLE: Final = 512


class SplitRow(NamedTuple):
    """A split: its classes (turned ones counted) or tasks, examples, and those of its smallest and largest one."""

    split: Split
    n_classes: int
    n_examples: int
    smallest: int
    largest: int


class DataReport(NamedTuple):
    """What :func:`load_and_count` found out.

    Attributes:
        name: Name of the dataset.
        kind: ``classification`` or ``regression``.
        input_shape: Shape of one example.
        rows: One for each split; none for regression families.
        facts: Name -> value, among them the mean and standard deviation of a sample of training data, per channel.
        seconds: How long loading took.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    rows: list[SplitRow]
    facts: dict[str, str]
    seconds: float

    def format(self) -> str:
        """Return the report as lines of plain text."""
        lines = [f"{self.name}: {self.kind}, examples of shape {'x'.join(map(str, self.input_shape))}"]
        if self.rows:
            group = "class" if self.kind == "classification" else "task"
            plural = "classes" if group == "class" else "tasks"
            lines.append(f"  {'split':8s}{plural:>10s}{'examples':>12s}   per {group}")
        for row in self.rows:
            span = str(row.smallest) if row.smallest == row.largest else f"{row.smallest} to {row.largest}"
            lines.append(f"  {row.split:8s}{row.n_classes:10d}{row.n_examples:12d}   {span}")
        width = max(map(len, self.facts))
        lines += [f"  {name + ':':{width + 2}s}{value}" for name, value in self.facts.items()]
        return "\n".join([*lines, f"  loaded in {self.seconds:.2f} s"])


def load_and_count(dataset: Dataset, folder: Path, progress: Progress) -> tuple[DataReport, MetaDataset]:
    """Load a dataset, which finds, fetches and verifies it, and count its classes and examples.

    Args:
        dataset: The description of the dataset.
        folder: ``paths.data``.
        progress: Receives a line now and then.

    Raises:
        DataError: The data are missing or damaged.
    """
    start = time.perf_counter()
    loaded = load_and_warn(dataset, folder, progress)
    seconds = time.perf_counter() - start
    facts = {"digest": loaded.digest}
    name = type(dataset).__name__
    rows: list[SplitRow] = []
    if isinstance(loaded, ClassDataset):
        name = loaded.origin.name
        rows = [_row(loaded, split) for split in loaded.capacity()]
        facts |= {"raw data": loaded.origin.digest, **_preprocessing(loaded), "values": _format_values(loaded)}
        where = "" if loaded.in_memory else ", left on disk; each episode reads its own"
        facts["memory"] = f"{loaded.n_bytes / 1e6:.1f} MB{where}"
    if isinstance(loaded, TableData):
        name = loaded.name
        rows = [_row(loaded, split) for split in loaded.capacity()]
    if isinstance(loaded, MixtureData):
        facts |= {domain: _format_sizes(of_it) for domain, of_it in loaded.domains.items()}
    place = cache_folder(folder)
    facts["cache"] = str(place) if place else "none: no folder for it can be written"
    return DataReport(name, loaded.kind, loaded.input_shape, rows, facts, seconds), loaded


def contact_sheet(loaded: MetaDataset) -> Figure:
    """Return a figure of some examples of some classes of every split, or of some tasks of a regression family.

    Args:
        loaded: The dataset.
    """
    figure = Figure(figsize=(10, 10), layout="constrained")
    FigureCanvasAgg(figure)
    if isinstance(loaded, ClassDataset):
        _draw_sheets(figure, [_Sheet(loaded, split) for split in loaded.capacity()])
    elif isinstance(loaded, MixtureData):
        domains = loaded.domains.items()
        _draw_sheets(figure, [_Sheet(domain, next(iter(domain.capacity())), name) for name, domain in domains])
    else:
        grid = figure.subplots(len(SPLITS), _CURVES_SHOWN, squeeze=False)
        for split, row in zip(SPLITS, grid, strict=True):
            _draw_tasks(list(row), loaded, split)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _format_sizes(domain: ClassDataset) -> str:
    """The classes of each split of a domain, and the start of its digest."""
    sizes = domain.capacity().values()
    classes = " / ".join(str(size.n_classes) for size in sizes)
    return f"{classes} classes, {min(size.per_class for size in sizes)} or more examples each, {domain.digest[:12]}"


def _row(dataset: ClassDataset | TableData, split: Split) -> SplitRow:
    table = dataset.table(split)
    return SplitRow(split, table.n_classes, table.total, table.smallest, int(table.length.max()))


def _preprocessing(dataset: ClassDataset) -> dict[str, str]:
    conventions: dict[str, object] = dict(dataset.origin.preparation)
    if dataset.stores_bytes:
        low, high = ("255", "0") if dataset.pixels.invert else ("0", "255")
        conventions["values of bytes"] = f"{low} is 0.0, {high} is 1.0"
        if dataset.pixels.mean is not None and dataset.pixels.std is not None:
            conventions["then normalised by"] = f"mean {list(dataset.pixels.mean)}, std {list(dataset.pixels.std)}"
    where = "" if dataset.rotations.kind == "none" else f", in {dataset.rotations.where} splits"
    conventions["rotations"] = dataset.rotations.kind + where.replace("in train splits", "in training only")
    return {name.replace("_", " "): str(value) for name, value in conventions.items() if value is not None}


def _format_values(dataset: ClassDataset) -> str:
    """Mean and standard deviation of a sample of training examples as delivered, per channel of images."""
    split: Split = "train" if "train" in dataset.capacity() else next(iter(dataset.capacity()))
    batch = dataset.batches(min(_SAMPLE, dataset.table(split).total), seed=0)
    x = batch.episodes(split, torch.zeros(1, dtype=torch.int64)).support.x[0].double()
    channels = x.transpose(0, 1).flatten(1) if x.dim() == 4 else x.flatten()[None]
    means, spreads = (", ".join(f"{c:.4f}" for c in each) for each in (channels.mean(1), channels.std(1, correction=0)))
    return f"mean {means}; standard deviation {spreads} ({counted(len(x), 'example')})"


class _Sheet(NamedTuple):
    """A split of which some examples are drawn: a row for each of some classes."""

    dataset: ClassDataset
    split: Split
    domain: str = ""

    @property
    def n_rows(self) -> int:
        return min(_CLASSES_SHOWN, self.dataset.table(self.split).n_classes)

    @property
    def n_columns(self) -> int:
        return min(_EXAMPLES_SHOWN, self.dataset.table(self.split).smallest)

    @property
    def title(self) -> str:
        name = self.dataset.origin.name
        domain = f"{self.domain}: " if self.domain not in ("", name) else ""
        return f"{domain}{name}: {self.split}, {counted(self.dataset.table(self.split).n_classes, 'class')}"


def _draw_sheets(figure: Figure, sheets: Sequence[_Sheet]) -> None:
    """One below the other, with images of the same size in all of them. Layouts of matplotlib do not see to that."""
    figure.set_layout_engine("none")
    n_columns = max(sheet.n_columns for sheet in sheets)
    is_image = len(sheets[0].dataset.input_shape) == 3
    shown = _CELL * (n_columns if is_image else _EXAMPLES_SHOWN)  # inches
    grid = [figure.add_axes((0.0, 0.0, 1.0, 1.0), label=str(number)) for number in range(len(sheets))]
    for sheet, axes in zip(sheets, grid, strict=True):
        _draw_classes(axes, sheet, n_columns)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)  # it is drawn as a box
        labels = [axes.yaxis.get_tightbbox() for axes in grid]
    names = max(0.0 if box is None else box.width for box in labels) / figure.dpi  # inches
    left, inner = _MARGIN + names, max(shown, _LEAST_WIDTH)
    heights = [_CELL * sheet.n_rows for sheet in sheets]
    width, height = left + inner + _MARGIN, sum(heights) + (_TITLE + _MARGIN) * len(sheets)
    figure.set_size_inches(width, height)
    top = height
    for axes, own in zip(grid, heights, strict=True):
        top -= _TITLE + own
        axes.set_position((left / width, top / height, shown / width, own / height))
        top -= _MARGIN


def _draw_classes(axes: Axes, sheet: _Sheet, n_columns: int) -> None:
    """A row for each of some classes, spread evenly over the split, with its first examples, in ``n_columns``."""
    dataset, split = sheet.dataset, sheet.split
    table = dataset.table(split)
    chosen = torch.linspace(0, table.n_classes - 1, sheet.n_rows).long()
    rows = table.first[chosen].unsqueeze(1) + torch.arange(sheet.n_columns)  # (classes, n_shown)
    x = dataset.examples(rows).cpu()
    names = dataset.class_names[split]
    wraps = "$" not in sheet.title  # where matplotlib wraps, it takes two of them for mathematics in any case
    axes.set_title(sheet.title, loc="left", wrap=wraps, parse_math=False)
    labels = [
        names[int(i) % len(names)] + (f", turn {int(i) // len(names)}" if i >= len(names) else "") for i in chosen
    ]
    if x.dim() == 5:
        axes.imshow(_tiles(x), cmap="gray", vmin=0.0, vmax=1.0)
        step = x.shape[-2] + 1
        axes.set_xlim(-0.5, n_columns * (x.shape[-1] + 1) - 0.5)
        axes.spines[:].set_visible(False)
        axes.set_xticks([])
    else:
        step = 1
        for i, examples in enumerate(x.flatten(2)):
            spread = float(x.max() - x.min()) or 1.0
            axes.plot((examples.T - x.min()) / spread * 0.9 - i, linewidth=0.8)
    centres = np.arange(len(chosen)) * (step if x.dim() == 5 else -1) + (step / 2 if x.dim() == 5 else 0.45)
    axes.set_yticks(centres, labels, fontsize=7, parse_math=False)  # a $ in a name is not mathematics


def _tiles(x: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Images (R, K, C, H, W) as one image with R rows and K columns, from 0 to 1, with lines between."""
    low, high = x.amin(), x.amax()
    scaled = (x - low) / (high - low).clamp(min=1e-12)
    padded = torch.nn.functional.pad(scaled, (0, 1, 0, 1), value=0.5)
    channels_last = padded.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (R * (H + 1), K * (W + 1), C)
    if channels_last.shape[-1] not in (1, 3):
        channels_last = channels_last.mean(-1, keepdim=True)
    image: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = channels_last.squeeze(-1).numpy()
    return image


def _draw_tasks(row: list[Axes], family: MetaDataset, split: Split) -> None:
    """One task in each of ``row``: the first target over the first input, or sequences with their continuation."""
    shape, capacity = TaskShape(0, 10, 50), family.capacity()
    if capacity is not None:
        n_support = max(1, min(10, capacity[split].per_class // 2))
        shape = TaskShape(0, n_support, max(1, min(50, capacity[split].per_class - n_support)))
    tasks = family.tasks(shape, seed=0).episodes(split, torch.arange(len(row)))
    for i, axes in enumerate(row):
        axes.set_title(f"{split}, task {i}", fontsize=8)
        for examples, style, label in ((tasks.query, ".", "queries"), (tasks.support, "o", "support set")):
            x, y = examples.x[i].cpu(), examples.y[i].cpu()
            sequences = family.continuation(x, y)
            if sequences is None:
                axes.plot(x.flatten(1)[:, 0], y[:, 0], style, markersize=5 if style == "o" else 2, label=label)
                axes.set_xlabel("x")
            elif style == "o":
                for sequence, rest in zip(sequences[0][:3], sequences[1][:3], strict=True):
                    axes.plot(torch.cat([sequence, rest]), linewidth=0.8)
                label = "from here on to be predicted"
                axes.axvline(sequences[0].shape[1] - 0.5, color="gray", linewidth=0.5, label=label)
                axes.set_xlabel("position in the sequence")
    row[0].set_ylabel("y" if row[0].get_xlabel() == "x" else "value")
