"""Draws a heat map of a comparison, and the ticks of an axis whose places are values of a setting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from metaexp.compare.output.figure_data import FigureData
from metaexp.core.terminal_text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE = 20.0
"""From this factor between the largest and the smallest value on, the axis is logarithmic."""


def mark_values(axes: Axes, values: Sequence[float]) -> None:
    """Put ticks at the values of a setting; on a logarithmic axis where they are far apart.

    Args:
        axes: Where the lines are.
        values: The values, ascending.
    """
    from matplotlib.ticker import NullLocator

    if values[0] > 0 and values[-1] >= _WIDE * values[0]:
        axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    step = -(-len(values) // 8)
    axes.set_xticks(values[::step], [f"{value:g}" for value in values[::step]])


def draw_cells(axes: Axes, data: FigureData, size: float = 9.0) -> None:
    """Draw a heat map with the number in every cell. Settings that were not run are white.

    Args:
        axes: Where to draw.
        data: What the figure shows.
        size: The size of the numbers, in points.
    """
    import numpy as np

    grid = np.full((len(data.series), len(data.values)), np.nan)
    for row, series in enumerate(data.series):
        for point in series.points:
            grid[row, data.values.index(point.x)] = point.mean * (100.0 if data.percent else 1.0)
    edges = (np.arange(n + 1) - 0.5 for n in reversed(grid.shape))
    cells = np.ma.masked_invalid(grid)
    axes.pcolormesh(*edges, cells, cmap="cividis", edgecolors="white", linewidth=0.5)  # no image, which a page refuses
    axes.invert_yaxis()
    middle = (np.nanmin(grid) + np.nanmax(grid)) / 2.0
    for row, column in zip(*np.nonzero(np.isfinite(grid)), strict=True):
        value = grid[row, column]
        text = f"{value:.1f}" if data.percent else f"{value:.3g}"
        axes.text(column, row, text, ha="center", va="center", size=size, color="white" if value < middle else "black")
    axes.set_xticks(range(len(data.values)), [f"{value:g}" for value in data.values])
    axes.set_yticks(range(len(data.series)), [series.label for series in data.series])
    axes.grid(visible=False)
    axes.set_xlabel(plain(data.x_label))
    axes.set_ylabel(plain(data.y_label))
