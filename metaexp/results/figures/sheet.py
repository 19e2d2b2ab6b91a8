"""A figure of one or more panels, whose places follow from the sizes of the few texts around them.

The panels are matplotlib's axes, and hold lines, areas and scales as usual. Their ticks, labels and legends are drawn
here: matplotlib's own take most of the time of a small figure, above all where its layout engine measures them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.axes import Axes

from metaexp.results.figures.arrange import (
    HEADING,
    LABEL,
    NUMBER,
    TICK,
    TITLE,
    UPRIGHT,
    Panel,
    Plan,
    arrange,
    label_places,
    number_place,
)
from metaexp.results.figures.legend import draw_box, draw_rows, in_rows
from metaexp.results.figures.lettering import Font, points
from metaexp.results.figures.paper import Paper
from metaexp.results.figures.style import GREY, INK, PALE, Canvas

if TYPE_CHECKING:
    from collections.abc import Sequence

_GRID_ORDER = 0.5
"""Areas behind the grid have a lower ``zorder``."""
_GRID_WIDTH, _LINE_WIDTH = 0.6, 0.8
_SMALL_TICK = 0.6


class _Note(NamedTuple):
    axes: Axes
    text: str
    xy: tuple[float, float]
    shift: tuple[float, float]
    align: tuple[str, str]


class _Axes(Axes):
    """Axes whose grid and ticks the sheet draws. They make none of matplotlib's own, which would never be drawn."""

    def clear(self) -> None:
        """Empty the axes, as they are at their beginning."""
        for axis in (self.xaxis, self.yaxis):
            axis.set_clip_path = _do_nothing  # type: ignore[method-assign]
        super().clear()

    def grid(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    def tick_params(self, *_: Any, **__: Any) -> None:
        """Do nothing."""


def _do_nothing(*_: Any, **__: Any) -> None:
    """In place of a method that would make ticks only to clip them."""


class Sheet(Canvas):
    """A context in which a figure of panels is drawn; it is saved when the context ends without an error.

    Args:
        path: The PNG file.
        width: In inches of 150 pixels.
        height: In inches.
        title: Above the panels. It is wrapped if it is long.

    Attributes:
        paper: What the figure was drawn on, after the context.
    """

    def __init__(self, path: Path, width: float, height: float, title: str) -> None:
        super().__init__(path, width, height, arranged=False)
        self.title = title
        self.paper = Paper((width, height))
        self._rows: list[list[Axes]] = []
        self._ratios: list[float] = []
        self._legends: list[tuple[Axes, str]] = []
        self._notes: list[_Note] = []

    def panels(self, *counts: int, ratios: Sequence[float] | None = None) -> list[Axes]:
        """Add the panels, which are returned row by row.

        Panels of the same row share the y axis. If all rows have one panel, these share the x axis, otherwise all
        panels share the y axis.

        Args:
            counts: Panels in each row.
            ratios: Heights of the rows, relative to each other; equal ones by default.
        """
        self._ratios = list(ratios or [1.0] * len(counts))
        stacked = max(counts) == 1
        first: dict[str, Any] = {}
        for count in counts:
            row = []
            for _ in range(count):
                axes = self.figure.add_axes(_Axes(self.figure, (0.0, 0.0, 1.0, 1.0), **first))
                first = first or ({"sharex": axes} if stacked else {"sharey": axes})
                row.append(axes)
            self._rows.append(row)
        return [axes for row in self._rows for axes in row]

    def legend(self, axes: Axes, place: str) -> None:
        """Add a legend.

        Args:
            axes: The panel whose lines it names.
            place: The ``lower right`` or ``upper right`` corner of this panel, or ``below`` all panels.
        """
        self._legends.append((axes, place))

    def note(
        self, axes: Axes, text: str, xy: tuple[float, float], shift: tuple[float, float], align: tuple[str, str]
    ) -> None:
        """Write a text beside a point of a panel.

        Args:
            axes: The panel.
            text: The text.
            xy: The point.
            shift: From the point to the text, in points.
            align: What of the text stands there, such as ``("center", "top")``.
        """
        self._notes.append(_Note(axes, text, xy, shift, align))

    def draw(self) -> Any:
        """Draw the figure and return its pixels."""
        paper = self.paper
        below = [in_rows(axes, paper.width - 4 * points(3.0)) for axes, place in self._legends if place == "below"]
        plan = Plan(
            (paper.width, paper.height), self._rows, self._ratios, self.title, sum(legend.height for legend in below)
        )
        made = arrange(plan)
        for panel in made.panels:
            _draw_panel(paper, panel)
        for axes, place in self._legends:
            if place != "below":
                draw_box(paper, axes, place, INK)
        for note in self._notes:
            x, y = note.axes.transData.transform(note.xy)
            font = Font(HEADING.size, INK, outlined=True)
            paper.text(x + points(note.shift[0]), y + points(note.shift[1]), note.text, font, *note.align)
        paper.text(*made.title_at, made.title, TITLE, "left", "top")
        for legend in below:
            draw_rows(paper, legend, *made.legend_at, INK)
        return paper.pixels()


def _draw_panel(paper: Paper, panel: Panel) -> None:
    axes, ends = panel.axes, panel.axes.bbox
    artists = sorted([*axes.patches, *axes.collections, *axes.lines], key=lambda artist: artist.get_zorder())
    for artist in artists:
        if artist.get_zorder() < _GRID_ORDER:
            artist.draw(paper.renderer)
    grid = [(x, ends.y0, x, ends.y1) for x in panel.x.at] + [(ends.x0, y, ends.x1, y) for y in panel.y.at]
    paper.lines(grid, PALE, _GRID_WIDTH)
    for artist in artists:
        if artist.get_zorder() >= _GRID_ORDER:
            artist.draw(paper.renderer)
    x0, y0, x1, y1 = ends.extents
    ticks = [(x, y0 - TICK, x, y0) for x in panel.x.at] + [(x0 - TICK, y, x0, y) for y in panel.y.at]
    small = TICK * _SMALL_TICK
    ticks += [(x, y0 - small, x, y0) for x in panel.x.minor] + [(x0 - small, y, x0, y) for y in panel.y.minor]
    paper.lines([(x0, y0, x1, y0), (x0, y0, x0, y1), *ticks], GREY, _LINE_WIDTH)
    _write(paper, panel)


def _write(paper: Paper, panel: Panel) -> None:
    """The texts around a panel."""
    right, top = number_place(panel.axes)
    for x, name in zip(panel.x.at, panel.x.names, strict=False):
        paper.text(x, top, name, NUMBER, "center", "top")
    for y, name in zip(panel.y.at, panel.y.names, strict=False):
        paper.text(right, y, name, NUMBER, "right", "middle")
    y_place, x_place = label_places(panel, paper.height)
    if panel.y_label:
        paper.text(*y_place, panel.y_label, UPRIGHT)
    if panel.x_label:
        paper.text(*x_place, panel.x_label, LABEL, "center", "top")
    if panel.heading:
        paper.text(panel.axes.bbox.x0, panel.axes.bbox.y1 + points(4.0), panel.heading, HEADING, "left", "bottom")
