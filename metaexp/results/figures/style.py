"""The style of all figures. Uses matplotlib's object interface only: no global state, no display.

matplotlib is imported when something is drawn: it takes a tenth of a run's start.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from metaexp.core.disk.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

# Okabe & Ito (2008). People with any common colour blindness can tell them apart; in grey they differ in lightness.
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY = "#CC79A7", "#56B4E9"
INK, GREY, PALE = "#222222", "#767676", "#D9D9D9"
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)

FEWEST_POINTS = 3
"""Two points have no shape. Fewer than these are drawn as points, without a line between them."""

STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # no axes has ticks above it, for which matplotlib would look
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.facecolor": "white",
    "legend.edgecolor": "none",
    "legend.framealpha": 0.93,
    "legend.fontsize": 9,
    "figure.dpi": 150,
    "savefig.facecolor": "white",
}


class Canvas:
    """A context in which a figure is drawn; it is saved when the context ends without an error.

    Args:
        path: The PNG file.
        width: In inches of 150 pixels.
        height: In inches.
        arranged: Whether matplotlib finds places for the axes.
    """

    def __init__(self, path: Path, width: float, height: float, arranged: bool = True) -> None:
        self.path = path
        self.size = (width, height)
        self.arranged = arranged

    def __enter__(self) -> Figure:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._style = matplotlib.rc_context(STYLE)
        self._style.__enter__()
        self.figure = Figure(figsize=self.size, layout="constrained" if self.arranged else None)
        FigureCanvasAgg(self.figure)
        return self.figure

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        try:
            if error is None:
                # Without the version of matplotlib, so that equal figures are equal files. Level 1 takes a quarter less
                # time, and files are 3 % larger.
                save(self.figure, self.path, metadata={"Software": None}, pil_kwargs={"compress_level": 1})
        finally:
            self._style.__exit__(kind, error, trace)


def save(figure: Figure, path: Path, **options: Any) -> None:
    """Write a figure to a file, whole or not at all. The folder of the file is made.

    Args:
        figure: The figure.
        path: The file. Its suffix says its format.
        **options: Those of ``Figure.savefig``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = BytesIO()
    with warnings.catch_warnings():
        # Names of users' classes may have signs that the font lacks. The figure shows a box for each.
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        arrange(figure)
        figure.savefig(content, format=path.suffix.lower().lstrip("."), **options)
    write_atomically(path, content.getvalue())


def arrange(figure: Figure) -> None:
    """Find places for the axes, once. ``savefig`` would draw the whole figure one more time for it, for each file."""
    _take_literally(figure)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)


def _take_literally(figure: Figure) -> None:
    """Draw a ``$`` as it is. matplotlib takes two for mathematics, and the names of users' classes are none.

    The numbers that it writes itself along axes stay mathematics.
    """
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_formatter(), FixedFormatter):
                axis.get_majorticklabels()  # gives the labels their texts
    for text in figure.findobj(Text):
        if isinstance(text, Text) and "$" in text.get_text() and r"\mathdefault" not in text.get_text():
            text.set_parse_math(False)


def outlined(text: Text) -> None:
    """Give ``text`` a white outline, so that it can be read on top of lines and images."""
    from matplotlib.patheffects import withStroke

    text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def to_array(values: Any) -> Array:
    """Return an array, a list or a tensor on any device as float64 in main memory."""
    import numpy as np

    tensor = values.detach().cpu() if hasattr(values, "detach") else values
    return np.asarray(tensor, dtype=np.float64)


def thousands(axes: Axes) -> None:
    """Write the numbers of the x axis as whole numbers with commas."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def scale_log(axes: Axes, name: Literal["x", "y"], low: float, high: float) -> None:
    """Make an axis logarithmic, with few and plain numbers: 0.2 and 0.5, not 2 x 10^-1.

    Args:
        axes: The axes.
        name: Which axis.
        low: The smallest value that is shown.
        high: The largest.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set(**{f"{name}scale": "log"})
    axis = axes.xaxis if name == "x" else axes.yaxis
    ratio = high / low
    digits = (1.0,) if ratio >= 100.0 else (1.0, 2.0, 5.0) if ratio >= 5.0 else (1.0, 2.0, 3.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def percent(axes: Axes) -> None:
    """Write the fractions of the y axis as percentages."""
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=" %"))


def scale_accuracy(axes: Axes, values: Sequence[float]) -> None:
    """Write the fractions of the y axis as percentages, and make room for the last few percent.

    Where they reach from below 80 % to above 95 %, equal distances are equal factors of the error.

    Args:
        axes: The axes.
        values: The accuracies that are drawn.
    """
    percent(axes)
    if min(values) < 0.8 and max(values) > 0.95:
        _scale_errors(axes, max(max(values), min(axes.dataLim.y1, 1.0)))  # intervals and the published number, too


def _scale_errors(axes: Axes, best: float) -> None:
    """Make equal distances of the y axis equal factors of the error; up to half the error of ``best``."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    least = 0.5 * max(1.0 - best, 0.001)  # an error of 0 has no logarithm

    def place(accuracy: Any) -> Array:
        return np.asarray(-np.log(np.maximum(1.0 - np.asarray(accuracy), least)))

    def accuracy_at(height: Any) -> Array:
        return np.asarray(1.0 - np.exp(-np.asarray(height)))

    bottom, top = place(max(axes.dataLim.y0, 0.0)), place(1.0)
    axes.set_yscale("function", functions=(place, accuracy_at))
    axes.set_ylim(float(accuracy_at(bottom - 0.1 * (top - bottom))), 1.0 - least)
    ticks = (0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if tick < 1.0 - least]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g} %"))
