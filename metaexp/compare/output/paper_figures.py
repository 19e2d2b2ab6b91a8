"""The figures of a comparison for a paper: PDF and SVG, as wide as one column of a page or as two."""

from __future__ import annotations

import io
from typing import NamedTuple

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from metaexp.compare.output.cells_map import draw_cells, mark_values
from metaexp.compare.output.draw import draw_dots, draw_line, wrap_text
from metaexp.compare.output.figure_data import FigureData
from metaexp.core.terminal_text import plain
from metaexp.results.figures.style import STYLE, thousands


class Width(NamedTuple):
    """A width of figures.

    Attributes:
        inches: How wide.
        letters: The longest line of a name, in letters.
        beside: How many names stand beside each other below the axes.
    """

    inches: float
    letters: int
    beside: int


WIDTHS = {"1col": Width(3.3, 20, 2), "2col": Width(6.9, 44, 4)}
"""Name of a width -> it. A column of a two-column page on letter paper or A4 is 3.3 inches wide, or a little more."""
_SMALL = {
    "font.size": 8, "axes.labelsize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7.5, "legend.fontsize": 7,
    "axes.linewidth": 0.6, "grid.linewidth": 0.4, "lines.linewidth": 1.2,
}  # fmt: skip
_LINE = 0.135
"""Inches between the lines of names."""
_MANY = 16
"""More rows than this have names in one line, in small letters, so that the figure fits a page."""


def draw_paper(data: FigureData) -> dict[str, bytes]:
    """Draw a figure at both widths as PDF and SVG. The title and the note are for the caption, and not in it.

    Letters are in the PDF as a font, and in the SVG as shapes, so that both look the same everywhere. Equal data give
    equal bytes.

    Args:
        data: What the figure shows.

    Returns:
        Name of the file -> its bytes.
    """
    files = {}
    for name, width in WIDTHS.items():
        style = {**STYLE, **_SMALL, "text.parse_math": False, "svg.fonttype": "path", "svg.hashsalt": data.name,
                 "pdf.fonttype": 42}  # fmt: skip
        with matplotlib.rc_context(style):
            figure = _figure(data, width)
            pdf, svg = io.BytesIO(), io.BytesIO()
            figure.savefig(pdf, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
            figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        files[f"paper-{data.name}-{name}.pdf"] = pdf.getvalue()
        files[f"paper-{data.name}-{name}.svg"] = svg.getvalue()
    return files


def _figure(data: FigureData, width: Width) -> Figure:
    many = data.kind == "dots" and len(data.series) > _MANY
    labels = [wrap_text(series.label, max(width.letters, 32) if many else width.letters) for series in data.series]
    n_lines = [label.count("\n") + 1 for label in labels]
    if data.kind == "cells":
        height = 0.7 + 0.3 * len(labels)
    elif data.kind == "dots":
        height = 0.7 + sum(max(0.16 if many else 0.2, _LINE * n + (0.02 if many else 0.06)) for n in n_lines)
    else:
        beside = _beside(labels, width)
        n_rows = sum(max(n_lines[i : i + beside]) for i in range(0, len(labels), beside))
        height = 2.2 + _LINE * n_rows
    figure = Figure(figsize=(width.inches, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    if data.kind == "dots":
        draw_dots(axes, data, labels, size=3.0 if many else 4.0, letters=width.letters + (4 if many else 10))
        if many:
            axes.tick_params(axis="y", labelsize=6)
        return figure
    if data.kind == "cells":
        draw_cells(axes, data, size=7.0)
        return figure
    scale = 100.0 if data.percent else 1.0
    lines = [draw_line(axes, series, scale, size=2.8) for series in data.series]
    axes.set_xlabel(plain(data.x_label))
    axes.set_ylabel(plain(data.y_label + (" (%)" if data.percent else "")))
    names = [f"\u200a{label}" for label in labels]  # matplotlib leaves labels such as "_x" out
    figure.legend(
        lines, names, loc="outside lower center", ncols=_beside(labels, width), borderaxespad=0.2, columnspacing=1.0,
        handlelength=1.8, labelspacing=0.25,
    )  # fmt: skip
    mark_values(axes, data.values) if data.values else thousands(axes)
    return figure


def _beside(labels: list[str], width: Width) -> int:
    """How many names fit beside each other."""
    longest = max((len(line) for label in labels for line in label.split("\n")), default=1)
    fitting = int(width.inches / (0.06 * longest + 0.45))
    return max(1, min(width.beside, fitting, len(labels)))
