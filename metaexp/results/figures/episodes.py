"""Test episodes as rows of images: the support, and the queries with the predictions of the adapted learner."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metaexp.results.figures.style import GREEN, GREY, INK, VERMILION, Canvas, to_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from metaexp.results.figures.style import Array

MOST_COLUMNS = 10
"""Images shown per row on either side."""
_GAP = 0.9
_ROW = 1.62


class AdaptedEpisode(NamedTuple):
    """One episode after adaptation, in arrays or tensors.

    Attributes:
        support_x: (S, C, H, W) images, or (S, L, D) sequences, which are shown as L rows of D.
        support_y: (S,), labels.
        query_x: (M, ...), as the support.
        query_y: (M,), labels.
        predicted: (M,), the classes with the highest scores.
        confidence: (M,), the share of that class in [0, 1]; None for learners whose scores are not probabilities.
    """

    support_x: Any
    support_y: Any
    query_x: Any
    query_y: Any
    predicted: Any
    confidence: Any | None = None


def adapted_episodes(path: Path, title: str, episodes: Sequence[AdaptedEpisode]) -> None:
    """Draw one row per episode: support images with their labels, then queries with the predictions.

    Right answers have a tick and a green frame, wrong ones a cross, a red frame and the true label. Where there are
    more images than fit, the first of each class are shown. The accuracy beside the row is over all queries.

    Args:
        path: The PNG file.
        title: Above the figure.
        episodes: One row each.

    Raises:
        ValueError: There are no episodes, or an example is not an image.
    """
    if not episodes:
        raise ValueError("a figure of adapted episodes needs at least one episode")
    support = [_choose(to_array(episode.support_y)) for episode in episodes]
    query = [_choose(to_array(episode.query_y)) for episode in episodes]
    n_support, n_query = max(map(len, support)), max(map(len, query))
    columns = n_support + _GAP + n_query + 1.1
    scale = min(0.8, 13.0 / columns)
    with Canvas(path, columns * scale, (len(episodes) * _ROW + 1.2) * scale, arranged=False) as figure:
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set_xlim(-0.15, columns - 0.15)
        axes.set_ylim(len(episodes) * _ROW, -1.2)
        size = 11.0 * scale / 0.8
        _headings(axes, title, episodes[0], (n_support, n_query), size)
        for row, episode in enumerate(episodes):
            _support_row(axes, row * _ROW, episode, support[row], size)
            _query_row(axes, row * _ROW, n_support + _GAP, episode, query[row], size)
            right = to_array(episode.predicted) == to_array(episode.query_y)
            axes.text(
                columns - 0.65, row * _ROW + 0.45, f"{right.mean() * 100:.0f} %\nright", size=size, color=GREY,
                ha="center", va="center",
            )  # fmt: skip


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


def _headings(axes: Axes, title: str, episode: AdaptedEpisode, shown: tuple[int, int], size: float) -> None:
    totals = (len(episode.support_y), len(episode.query_y))
    names = ("support set", "queries")
    more = (": given with labels", ": predictions after adaptation")
    starts = (0.0, shown[0] + _GAP)
    axes.text(0.0, -0.92, title, size=size * 1.15, weight="bold", va="center", wrap=True)
    for name, meaning, count, total, x in zip(names, more, shown, totals, starts, strict=True):
        part = "" if count == total else f" ({count} of {total} shown)"
        axes.text(x, -0.28, name + (meaning if count > 3 else "") + part, size=size, color=GREY, va="center")


def _support_row(axes: Axes, y: float, episode: AdaptedEpisode, chosen: Sequence[int], size: float) -> None:
    labels = to_array(episode.support_y).astype(int)
    for column, index in enumerate(chosen):
        _image(axes, column, y, episode.support_x[index], GREY, 0.6)
        axes.text(
            column + 0.45, y + 1.1, name_of_class(labels[index]), size=size, weight="bold", ha="center", va="center"
        )


def _query_row(axes: Axes, y: float, x: float, episode: AdaptedEpisode, chosen: Sequence[int], size: float) -> None:
    labels, predicted = to_array(episode.query_y).astype(int), to_array(episode.predicted).astype(int)
    confidence = None if episode.confidence is None else to_array(episode.confidence)
    for column, index in enumerate(chosen):
        right = labels[index] == predicted[index]
        color = GREEN if right else VERMILION
        _image(axes, x + column, y, episode.query_x[index], color, 2.2)
        sure = "" if confidence is None else f" {math.floor(confidence[index] * 100)} %"
        text = f"{'✓' if right else '✗'} {name_of_class(predicted[index])}"
        middle = x + column + 0.45
        axes.text(middle, y + 1.1, text, size=size, color=color, weight="bold", ha="center", va="center")
        below = sure.strip() if right else f"{sure.strip()}, is {name_of_class(labels[index])}".lstrip(", ")
        axes.text(middle, y + 1.36, below, size=size * 0.78, color=INK, ha="center", va="center")


def _image(axes: Axes, x: float, y: float, image: Any, color: str, width: float) -> None:
    """Draw an image with a frame; (x, y) is its upper left corner."""
    from matplotlib.patches import Rectangle

    values = to_array(image)
    if values.ndim == 3:
        values = values.transpose(1, 2, 0)  # (H, W, C)
        values = values[..., 0] if values.shape[-1] == 1 else values
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[-1] != 3):
        raise ValueError(f"an example of shape {tuple(values.shape)} is not an image")
    low, high = values.min(), values.max()
    values = (values - low) / (high - low) if high > low else values * 0.0
    extent = (x, x + 0.9, y + 0.9, y)
    axes.imshow(values, cmap="gray", vmin=0.0, vmax=1.0, extent=extent, interpolation="nearest", aspect="auto")
    axes.add_patch(Rectangle((x, y), 0.9, 0.9, fill=False, edgecolor=color, linewidth=width))
