"""Legends: a short piece of each line, and its name."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.transforms import IdentityTransform

from metaexp.results.figures.lettering import Font, metrics, points, width, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from metaexp.results.figures.paper import Paper

_SIZE = 9.0
_HANDLE, _GAP, _BETWEEN = points(2.0 * _SIZE), points(0.8 * _SIZE), points(1.4 * _SIZE)
_INSIDE, _OUTSIDE = points(0.4 * _SIZE), points(0.5 * _SIZE)
_OPAQUE = 0.93


class Legend(NamedTuple):
    """A legend and its lines of text.

    Attributes:
        rows: Entries in each row: what is drawn, and its name.
        width: In pixels.
        height: In pixels.
    """

    rows: list[list[tuple[Any, str]]]
    width: float
    height: float


def row_height() -> float:
    """Return the pixels from one row to the next."""
    return metrics(_SIZE, False).line + points(0.3 * _SIZE)


def in_column(axes: Axes, room: float) -> Legend:
    """Return the legend of a panel, with one entry in a row.

    Args:
        axes: The panel.
        room: The most pixels in width.
    """
    entries = list(zip(*axes.get_legend_handles_labels(), strict=True))
    beside = _HANDLE + _GAP + 2 * _INSIDE
    rows = [[(handle, wrapped(str(name), room - beside, _SIZE, most=1)[0])] for handle, name in entries]
    wide = max((width(name, _SIZE) for ((_, name),) in rows), default=0) + beside
    return Legend(rows, wide, len(rows) * row_height() + _INSIDE)


def in_rows(axes: Axes, room: float) -> Legend:
    """Return the legend of several panels, with as many entries in a row as there is room for.

    Args:
        axes: The panel whose entries it has.
        room: The most pixels in width.
    """
    rows: list[list[tuple[Any, str]]] = []
    used = room
    for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
        wide = _HANDLE + _GAP + width(str(name), _SIZE)
        if used + wide > room:
            rows.append([])
            used = 0.0
        rows[-1].append((handle, str(name)))
        used += wide + _BETWEEN
    return Legend(rows, room, len(rows) * row_height())


def draw_box(paper: Paper, axes: Axes, place: str, ink: str) -> None:
    """Draw the legend of a panel into one of its corners.

    Args:
        paper: What is drawn on.
        axes: The panel.
        place: ``lower right`` or ``upper right``.
        ink: Colour of the text.
    """
    ends = axes.bbox
    made = in_column(axes, ends.width - 2 * _OUTSIDE)
    if made.rows:
        right = ends.x1 - _OUTSIDE
        top = ends.y1 - _OUTSIDE if place == "upper right" else ends.y0 + _OUTSIDE + made.height
        paper.box((right - made.width, top - made.height, right, top), fill="white", alpha=_OPAQUE)
        draw_rows(paper, made, right - made.width + _INSIDE, top - _INSIDE / 2, ink)


def draw_rows(paper: Paper, legend: Legend, left: float, top: float, ink: str) -> None:
    """Draw the entries of a legend.

    Args:
        paper: What is drawn on.
        legend: The legend.
        left: Its left end in pixels.
        top: Its upper end in pixels.
        ink: Colour of the text.
    """
    font = Font(_SIZE, ink)
    for number, row in enumerate(legend.rows):
        x, y = left, round(top - (number + 0.5) * row_height())
        for handle, name in row:
            _sample(paper, handle, x, x + _HANDLE, y)
            paper.text(x + _HANDLE + _GAP, y, name, font, across="left", up="middle")
            x += _HANDLE + _GAP + width(name, _SIZE) + _BETWEEN


def _sample(paper: Paper, handle: Any, x0: float, x1: float, y: float) -> None:
    """A piece of a line, with one of its marks in the middle and its bar of error."""
    middle = round((x0 + x1) / 2)
    line: Any = handle
    if isinstance(handle, ErrorbarContainer):
        line, caps, bars = handle.lines
        bar: Any
        for bar in bars:
            half, color = points(0.5 * _SIZE), to_hex(bar.get_color()[0])
            paper.lines([(middle, y - half, middle, y + half)], color, bar.get_linewidths()[0])
            for end in (y - half, y + half) if caps else ():
                reach = points(caps[0].get_markersize()) / 2
                paper.lines([(middle - reach, end, middle + reach, end)], color, caps[0].get_markeredgewidth())
    _part(paper, line, [x0, x1], y, marker="None")
    _part(paper, line, [middle], y, linestyle="None")


def _part(paper: Paper, line: Line2D, xs: Sequence[float], y: float, **look: Any) -> None:
    part = copy(line)
    part.set(data=(xs, [y] * len(xs)), transform=IdentityTransform(), clip_on=False, **look)
    part.draw(paper.renderer)
