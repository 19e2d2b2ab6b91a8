"""Test episodes as rows of images: the support, and the queries with the predictions of the adapted learner."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metaexp.results.figures.lettering import Font, metrics, width, wrapped
from metaexp.results.figures.paper import Paper
from metaexp.results.figures.style import DPI, GREEN, GREY, INK, VERMILION, save_png, to_array

if TYPE_CHECKING:
    from metaexp.results.figures.style import Array

MOST_COLUMNS = 10
"""Images shown per row on either side."""
_GAP = 0.9
_ROW = 1.62
_HEAD = 1.2
_MARGIN = 0.15
_COLUMN = 0.8
"""Inches, of which an image takes nine tenths."""


class Shown(NamedTuple):
    """One episode after adaptation, in arrays or tensors.

    Attributes:
        support_x: (S, C, H, W) images, or (S, L, D) sequences, which are shown as L rows of D.
        support_y: (S,), labels.
        query_x: (M, ...), as the support.
        query_y: (M,), labels.
        predicted: (M,), the classes with the highest scores.
        confidence: (M,), the share of that class in [0, 1]; None for learners whose scores are no probabilities.
    """

    support_x: Any
    support_y: Any
    query_x: Any
    query_y: Any
    predicted: Any
    confidence: Any | None = None


def adapted_episodes(path: Path, title: str, episodes: Sequence[Shown]) -> None:
    """Draw one row per episode: support images with their labels, then queries with the predictions.

    Right answers have a tick and a green frame, wrong ones a cross, a red frame and the true label. Where there are
    more images than fit, the first of each class are shown. The accuracy beside the row is over all queries.

    Args:
        path: The PNG file.
        title: Above the figure.
        episodes: One row each.

    Raises:
        ValueError: There are no episodes, or an example is no image.
    """
    if not episodes:
        raise ValueError("a figure of adapted episodes needs at least one episode")
    support = [_choose(to_array(episode.support_y)) for episode in episodes]
    query = [_choose(to_array(episode.query_y)) for episode in episodes]
    n_support, n_query = max(map(len, support)), max(map(len, query))
    columns = n_support + _GAP + n_query + 1.1
    grid = _Grid(columns, title, len(episodes))
    _headings(grid, episodes[0], (n_support, n_query))
    for row, episode in enumerate(episodes):
        y = row * _ROW
        _support_row(grid, y, episode, support[row])
        _query_row(grid, y, n_support + _GAP, episode, query[row])
        right = to_array(episode.predicted) == to_array(episode.query_y)
        lines = [f"{right.mean() * 100:.0f} %", "right"]
        grid.text(columns - 0.65, y + 0.45, lines, Font(grid.size, GREY))
    save_png(path, grid.paper.pixels())


class _Grid:
    """Paper with a title, measured in columns from the left and in heights of images from the top."""

    def __init__(self, columns: float, title: str, rows: int) -> None:
        scale = min(_COLUMN, 13.0 / columns)
        self.columns = columns
        self.unit = scale * DPI
        self.size = 11.0 * scale / _COLUMN
        font = Font(self.size * 1.15, INK, bold=True)
        lines = wrapped(title, (columns - 0.3) * self.unit, font.size, bold=True)
        more = metrics(font.size, bold=True).line * (len(lines) - 1)
        self.paper = Paper((columns * scale, (rows * _ROW + _HEAD) * scale + more / DPI))
        self._top = (rows * _ROW) * self.unit
        self.paper.text(*self.place(0.0, -0.92 - more / 2 / self.unit), lines, font, "left", "middle")

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return pixels from the lower left corner."""
        return (x + _MARGIN) * self.unit, self._top - y * self.unit

    def text(self, x: float, y: float, lines: str | Sequence[str], font: Font, across: str = "center") -> None:
        """Write a text; smaller, if one line of it is wider than a column."""
        if isinstance(lines, str) and across == "center":
            wide = max(1, width(lines, font.size, font.bold))
            font = font._replace(size=font.size * min(1.0, 0.96 * self.unit / wide))
        self.paper.text(*self.place(x, y), lines, font, across, "middle")

    def image(self, x: float, y: float, image: Any, color: str, linewidth: float) -> None:
        """Show an image in a frame; (x, y) is its upper left corner."""
        (x0, y1), (x1, y0) = self.place(x, y), self.place(x + 0.9, y + 0.9)
        ends = (round(x0), round(y0), round(x1), round(y1))
        self.paper.image(ends, _levels(image))
        self.paper.box(ends, edge=color, linewidth=linewidth)


def name_of_class(label: int) -> str:
    """Return A, B, ... Z, then 27, 28, ...; labels of an episode mean nothing outside it."""
    return chr(ord("A") + label) if label < 26 else str(label + 1)


def _choose(labels: Array) -> list[int]:
    """Indices of the images to show, ordered by class, equally many of each class, at most :data:`MOST_COLUMNS`."""
    classes = sorted(set(labels.astype(int).tolist()))[:MOST_COLUMNS]
    each = max(1, MOST_COLUMNS // len(classes))
    positions: list[int] = []
    for label in classes:
        positions += [int(i) for i in (labels == label).nonzero()[0][:each]]
    return positions


def _headings(grid: _Grid, episode: Shown, shown: tuple[int, int]) -> None:
    totals = (len(episode.support_y), len(episode.query_y))
    names = ("support set", "queries")
    more = (": given with labels", ": predictions after adaptation")
    starts = (0.0, shown[0] + _GAP)
    ends = (starts[1], grid.columns)
    for name, meaning, count, total, start, end in zip(names, more, shown, totals, starts, ends, strict=True):
        part = "" if count == total else f" ({count} of {total} shown)"
        texts = (name + (meaning if count > 3 else "") + part, name + part, name)
        room = (end - start - 2 * _MARGIN) * grid.unit
        text = next((text for text in texts if width(text, grid.size) <= room), name)
        grid.text(start, -0.28, text, Font(grid.size, GREY), "left")


def _support_row(grid: _Grid, y: float, episode: Shown, chosen: Sequence[int]) -> None:
    labels = to_array(episode.support_y).astype(int)
    for column, index in enumerate(chosen):
        grid.image(column, y, episode.support_x[index], GREY, 0.6)
        grid.text(column + 0.45, y + 1.1, name_of_class(labels[index]), Font(grid.size, INK, bold=True))


def _query_row(grid: _Grid, y: float, x: float, episode: Shown, chosen: Sequence[int]) -> None:
    labels, predicted = to_array(episode.query_y).astype(int), to_array(episode.predicted).astype(int)
    confidence = None if episode.confidence is None else to_array(episode.confidence)
    for column, index in enumerate(chosen):
        right = labels[index] == predicted[index]
        color = GREEN if right else VERMILION
        grid.image(x + column, y, episode.query_x[index], color, 2.2)
        sure = "" if confidence is None else f"{math.floor(confidence[index] * 100)} %"
        text = f"{'✓' if right else '✗'} {name_of_class(predicted[index])}"
        middle = x + column + 0.45
        grid.text(middle, y + 1.1, text, Font(grid.size, color, bold=True))
        below = sure if right else f"{sure}, is {name_of_class(labels[index])}".lstrip(", ")
        grid.text(middle, y + 1.36, below, Font(grid.size * 0.78, INK))


def _levels(image: Any) -> Array:
    """(H, W) or (H, W, 3) in [0, 1], from an image (1, H, W), (3, H, W) or (H, W)."""
    values = to_array(image)
    if values.ndim == 3:
        values = values.transpose(1, 2, 0)  # (H, W, C)
        values = values[..., 0] if values.shape[-1] == 1 else values
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[-1] != 3):
        raise ValueError(f"an example of shape {tuple(values.shape)} is no image")
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else values * 0.0
