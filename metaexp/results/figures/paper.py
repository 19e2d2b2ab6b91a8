"""The surface of a figure: text, images, lines and boxes in pixels, and matplotlib's artists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgb
from matplotlib.path import Path
from matplotlib.transforms import IdentityTransform

from metaexp.results.figures.lettering import RIM, Font, block, letters, metrics, width
from metaexp.results.figures.style import DPI

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AS_IS = IdentityTransform()
_ACROSS = {"left": 0.0, "center": 0.5, "right": 1.0}


class Label(NamedTuple):
    """Where a text stands, in pixels from the lower left corner.

    Attributes:
        text: Its lines.
        x0: Left end.
        y0: Lower end.
        x1: Right end.
        y1: Upper end.
    """

    text: str
    x0: int
    y0: int
    x1: int
    y1: int


class Paper:
    """White paper to draw on. (0, 0) is its lower left corner.

    Args:
        size: Width and height in inches.

    Attributes:
        width: In pixels.
        height: In pixels.
        renderer: Matplotlib's, which draws its artists.
        labels: The texts drawn so far.
    """

    def __init__(self, size: tuple[float, float]) -> None:
        self.width, self.height = (int(length * DPI) for length in size)
        self.renderer: Any = RendererAgg(self.width, self.height, DPI)  # type: ignore[no-untyped-call]
        self.labels: list[Label] = []
        self.box((0, 0, self.width, self.height), fill="white")

    def text(
        self, x: float, y: float, lines: str | Sequence[str], font: Font, across: str = "center", up: str = "baseline"
    ) -> None:
        """Write a text of one or more lines.

        Args:
            x: Where it stands.
            y: Where it stands.
            lines: The text.
            font: How it looks.
            across: Which side of the text is at ``x``: ``left``, ``center`` or ``right``.
            up: What of it is at ``y``: ``top``, ``bottom``, ``middle`` of its capitals, or the first ``baseline``.
        """
        lines = [lines] if isinstance(lines, str) else list(lines)
        wide, high = block(lines, font)
        shape = metrics(font.size, font.bold)
        if font.upright:  # centred on both axes
            left, low = round(x - high / 2), round(y - wide / 2)
            self.labels.append(Label("\n".join(lines), left, low, left + high, low + wide))
        else:
            capitals = shape.capital + shape.line * (len(lines) - 1)
            above = {"top": -shape.ascent, "bottom": high - shape.ascent, "baseline": 0}  # from y up to the base line
            first = round(y + above.get(up, capitals / 2 - shape.capital))
            left = round(x - wide * _ACROSS[across])
            top = first + shape.ascent
            self.labels.append(Label("\n".join(lines), left, top - high, left + wide, top))
        for number, line in enumerate(lines):
            spare = wide - width(line, font.size, font.bold)
            inside = round(spare * _ACROSS[across])
            if font.upright:
                self._place(letters(line, font), left + number * shape.line, low + inside)
            else:
                self._place(letters(line, font), left + inside, first - shape.descent - number * shape.line)

    def image(self, ends: tuple[float, float, float, float], values: NDArray[Any]) -> None:
        """Show an image, each of its pixels as a rectangle.

        Args:
            ends: Left, lower, right and upper end.
            values: (H, W) grey or (H, W, 3) red, green and blue, in [0, 1], from its upper row to its lower.
        """
        left, low, right, top = (round(end) for end in ends)
        rows = (np.arange(top - low) + 0.5) * (values.shape[0] / (top - low))
        columns = (np.arange(right - left) + 0.5) * (values.shape[1] / (right - left))
        levels = np.round(values * 255).astype(np.uint8)[::-1]
        levels = levels[rows.astype(int)[:, None], columns.astype(int)]
        pixels = np.full((*levels.shape[:2], 4), 255, np.uint8)
        pixels[..., :3] = levels if levels.ndim == 3 else levels[..., None]
        self.renderer.draw_image(self.renderer.new_gc(), left, low, pixels)

    def box(
        self,
        ends: tuple[float, float, float, float],
        fill: str | None = None,
        edge: str | None = None,
        linewidth: float = 0.0,
        alpha: float = 1.0,
    ) -> None:
        """Draw a rectangle.

        Args:
            ends: Left, lower, right and upper end.
            fill: Colour of its area; None for none.
            edge: Colour of its edge; None for none.
            linewidth: Of the edge, in points.
            alpha: 1 hides what is below.
        """
        x0, y0, x1, y1 = ends
        path = Path([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], closed=True)
        context = self._context(edge, linewidth, alpha)
        self.renderer.draw_path(context, path, _AS_IS, None if fill is None else (*to_rgb(fill), alpha))

    def lines(self, ends: Sequence[tuple[float, float, float, float]], color: str, linewidth: float) -> None:
        """Draw straight lines on whole pixels.

        Args:
            ends: x and y of the beginning, x and y of the end of each.
            color: Of all.
            linewidth: In points.
        """
        if ends:
            codes = [Path.MOVETO, Path.LINETO] * len(ends)
            path = Path(np.array(ends, float).reshape(-1, 2), codes)
            self.renderer.draw_path(self._context(color, linewidth, 1.0), path, _AS_IS)

    def pixels(self) -> NDArray[Any]:
        """Return (height, width, 3), red, green and blue in uint8."""
        return np.asarray(self.renderer.buffer_rgba())[..., :3]

    def _context(self, color: str | None, linewidth: float, alpha: float) -> Any:
        context = self.renderer.new_gc()
        context.set_snap(True)
        context.set_capstyle("projecting")
        context.set_joinstyle("miter")
        context.set_linewidth(0.0 if color is None else linewidth)
        if color is not None:
            context.set_foreground(to_rgb(color))
        context.set_alpha(alpha)
        return context

    def _place(self, image: NDArray[Any], left: int, low: int) -> None:
        self.renderer.draw_image(self.renderer.new_gc(), left - RIM, low - RIM, image)
