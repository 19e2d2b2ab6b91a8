"""Draws the figures of a comparison with matplotlib, each once, as PNG and as SVG."""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from metaexp.compare.output.cells_map import draw_cells, mark_values
from metaexp.compare.output.colours import PALETTE, Look
from metaexp.compare.output.figure_data import FigureData, Series
from metaexp.core.terminal_text import plain
from metaexp.results.display.html_page import JOINTS
from metaexp.results.figures.style import CYCLE, GREY, STYLE, arrange, thousands

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

MARKERS = ("o", "s", "D", "^", "v", "P", "X")
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
_WIDTH = 5.4
"""Inches. Letters of 10 points can then be read on a phone, too."""
_BELOW_LABEL = -0.5
"""Inches from the axes to the legend, which lies below the label of the axis however low the axes are."""
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


class Drawn(NamedTuple):
    """A drawn figure.

    Attributes:
        png: The bytes of a PNG file.
        svg: An ``<svg>`` element for a page.
    """

    png: bytes
    svg: str


def draw(data: FigureData) -> Drawn:
    """Draw a figure.

    Names are drawn as they are; nothing in them is taken for mathematics. Equal data give equal bytes, since neither
    the time nor the version of matplotlib is in them.

    Args:
        data: What the figure shows.
    """
    style = {**STYLE, "text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": data.name, "figure.dpi": 200}
    with matplotlib.rc_context(style):
        labels = [wrap_text(series.label, 22) for series in data.series]
        lines = sum(label.count("\n") + 1 for label in labels)
        extra = 0.22 * max(lines - len(labels), 0)
        rows_of_legend = -(-len(labels) // 2)
        height = 1.75 + 0.42 * len(labels) if data.kind != "lines" else 3.9 + 0.2 * max(rows_of_legend - 3, 0)
        height += extra if data.kind != "lines" else extra / 2
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        figure.suptitle(wrap_text(data.title, 50), x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        if data.kind == "dots":
            draw_dots(axes, data, labels)
        elif data.kind == "cells":
            draw_cells(axes, data)
        else:
            _lines(figure, axes, data, labels)
        figure.supxlabel(wrap_text(data.note, 84), x=0.99, ha="right", fontsize=7.5, color=GREY)
        arrange(figure)
        png, svg = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Drawn(png.getvalue(), _inline(svg.getvalue(), data))


def draw_dots(axes: Axes, data: FigureData, labels: list[str], size: float = 7.0, letters: int = 44) -> None:
    """Draw a figure of dots, one line of the axes for each series.

    Args:
        axes: Where to draw.
        data: What the figure shows.
        labels: The names of the series, in lines.
        size: The size of the marks, in points.
        letters: The longest line of the label below the axis.
    """
    scale = 100.0 if data.percent else 1.0
    for place, series in enumerate(data.series):
        colour, (point,) = PALETTE[series.look.colour % len(PALETTE)], series.points
        mean, low, high = (value * scale for value in (point.mean, point.low, point.high))
        marker = _marker(series.look)
        if low < high:
            axes.plot([low, high], [place, place], color=colour, linewidth=2.0, marker="|", markersize=size, zorder=3)
        axes.plot([mean], [place], marker, color=colour, markersize=size, zorder=4)
        seeds = [value * scale for value in series.seeds if abs(value) < 1e30]
        axes.plot(seeds, [place + 0.24] * len(seeds), "|", color=colour, markersize=size, alpha=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    if data.zero:
        axes.axvline(0.0, color=GREY, linewidth=1.2, zorder=1.5)
    axes.set_xlabel(wrap_text(data.x_label + (" (%)" if data.percent and not data.zero else ""), letters))
    axes.margins(x=0.08)
    axes.locator_params(axis="x", nbins=6)


def _lines(figure: Figure, axes: Axes, data: FigureData, labels: list[str]) -> None:
    scale = 100.0 if data.percent else 1.0
    lines = [draw_line(axes, series, scale) for series in data.series]
    axes.set_xlabel(plain(data.x_label))
    axes.set_ylabel(plain(data.y_label + (" (%)" if data.percent else "")))
    names = [f"\u200a{label}" for label in labels]  # matplotlib leaves labels such as "_x" out
    below = axes.transAxes + ScaledTranslation(0.0, _BELOW_LABEL, figure.dpi_scale_trans)
    axes.legend(
        lines, names, loc="upper center", bbox_to_anchor=(0.5, 0.0), bbox_transform=below, ncols=2, borderaxespad=0.0
    )
    mark_values(axes, data.values) if data.values else thousands(axes)


def draw_line(axes: Axes, series: Series, scale: float, size: float = 4.5) -> Line2D:
    """Draw a line with its band, or a point with its interval.

    Args:
        axes: Where to draw.
        series: The points.
        scale: What the values are multiplied by.
        size: The size of the marks, in points.

    Returns:
        The line, for a legend.
    """
    colour, dash = PALETTE[series.look.colour % len(PALETTE)], series.look.colour // len(CYCLE) + series.look.variant
    x = [point.x for point in series.points]
    low, high = [p.low * scale for p in series.points], [p.high * scale for p in series.points]
    axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
    if len(x) == 1 and low < high:  # a band of one point has no width
        axes.plot([*x, *x], [*low, *high], color=colour, linewidth=1.2, marker="_", markersize=size)
    (line,) = axes.plot(
        x,
        [p.mean * scale for p in series.points],
        color=colour,
        linestyle=_DASHES[dash % len(_DASHES)],
        marker=_marker(series.look) if len(x) <= 30 else None,
        markersize=size,
    )
    return line


def _marker(look: Look) -> str:
    return MARKERS[(look.colour + look.variant) % len(MARKERS)]


def wrap_text(text: str, width: int) -> str:
    """Return a text in at most four lines, so that room is left for the axes; without control characters.

    Args:
        text: The text.
        width: The longest line, in letters.
    """
    lines = _NamesWrapper(width, max_lines=4, placeholder=" \N{HORIZONTAL ELLIPSIS}").wrap(plain(text))
    return "\n".join(lines) or " "


class _NamesWrapper(textwrap.TextWrapper):
    """Breaks words that are longer than a line at the joints of names, as pages do."""

    def _split(self, text: str) -> list[str]:
        words = super()._split(text)
        return [part for word in words for part in (JOINTS.split(word) if len(word) > self.width else [word])]


def _inline(content: bytes, data: FigureData) -> str:
    """Matplotlib's SVG file as an element: with the page's width, a title, and ids that no other figure has."""
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(content)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):  # the page has a style of its own
                parent.remove(child)
    names = {element.get("id"): f"{data.name}-{n}" for n, element in enumerate(root.iter()) if element.get("id")}
    used = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == f"{{{_XLINK}}}href" and value[1:] in names:
                used.add(value[1:])
                element.set(key, f"#{names[value[1:]]}")
            elif value.startswith("url(#") and value[5:-1] in names:
                used.add(value[5:-1])
                element.set(key, f"url(#{names[value[5:-1]]})")
    for element in root.iter():
        name = element.attrib.pop("id", None)
        if name in used:
            element.set("id", names[name])
    root.attrib.pop("width", None)
    root.attrib.pop("height", None)
    root.set("role", "img")
    title = ElementTree.Element(f"{{{_SVG}}}title")
    title.text = plain(data.title)
    root.insert(0, title)
    return ElementTree.tostring(root, encoding="unicode")
