"""The figure of the hardest classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metaexp.core.terminal_text import plain
from metaexp.results.figures.style import BLUE, GREY, Canvas
from metaexp.results.per_class.files import ClassResult, format_confusion

_MOST = 20
_LONGEST = 40


def hardest_classes(path: Path, title: str, found: Sequence[ClassResult], mean: float | None) -> None:
    """Draw the accuracy of the hardest classes, and what each is taken for most often.

    Args:
        path: The PNG file.
        title: The title; how many classes are shown is added.
        found: The results, the hardest first.
        mean: The accuracy over all test episodes.
    """
    import matplotlib
    from matplotlib.ticker import PercentFormatter

    shown = found[:_MOST]
    which = f"the {len(shown)} hardest of {len(found):,} classes" if len(shown) < len(found) else "its classes"
    with Canvas(path, 9.0, 1.3 + 0.27 * len(shown)) as figure, matplotlib.rc_context({"text.parse_math": False}):
        axes = figure.subplots()
        places = range(len(shown))
        axes.barh(places, [item.accuracy for item in shown], color=BLUE, height=0.7)
        axes.set_yticks(places, [_short(item.name) for item in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(0.0, 1.0)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=" %"))
        if mean is not None:
            axes.axvline(mean, color=GREY, linewidth=1.0, linestyle="--")
            axes.annotate(
                "all classes", (mean, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2),
                textcoords="offset points", ha="center", va="bottom", color=GREY, fontsize=8,
            )  # fmt: skip
        beside = axes.secondary_yaxis("right")
        beside.set_yticks(places, [_beside(item) for item in shown], fontsize=8)
        beside.tick_params(length=0)
        beside.spines["right"].set_visible(False)
        axes.set_xlabel("accuracy on the queries of a class, over all test episodes")
        axes.set_title(f"{title}\n{which}", pad=16)


def _beside(item: ClassResult) -> str:
    answers = f"{item.right:,} of {item.queries:,}"
    taken_for = format_confusion(item)
    return f"{answers}, taken for {_short(taken_for)}" if taken_for else answers


def _short(text: str) -> str:
    text = plain(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}...{text[-_LONGEST // 2 + 3 :]}"
