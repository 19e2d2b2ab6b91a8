"""Texts of figures are neither cut nor on top of each other, whatever the names and the numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from metaexp.results.figures import arrange as arrange_module
from metaexp.results.figures.curves import Lines, adaptation_curve, learning_curve
from metaexp.results.figures.episodes import Shown, adapted_episodes
from metaexp.results.figures.fits import Continuation, Fit, continuations, function_fits
from metaexp.results.figures.lettering import Font, width, wrapped
from metaexp.results.figures.paper import Label, Paper
from metaexp.results.figures.sheet import Sheet
from metaexp.results.figures.style import INK
from metaexp.results.figures.ticks import Ticks, format_numbers, x_ticks, y_ticks
from metaexp.results.history import Curve
from metaexp.results.record import Reference, Score

LONG = "First-order MAML with a learning rate for each layer on glyphs_of_all_the_alphabets_of_the_world, 20-way 5-shot"
NOTHING = Curve([], [])
SPARSE = list(range(1, 61))


def _learning(
    validation: Curve, loss: Curve, metric: str = "accuracy", title: str = LONG, score: float = 0.9997
) -> Callable[[Path], None]:
    reference = Reference("paper", "table", metric, score, score / 10, "protocol")
    test, lines = Score(metric, score, score / 10, 600), Lines(0.05, reference)
    step = validation.steps[-1] if len(validation.steps) else None
    return lambda path: learning_curve(path, title, metric, validation, loss, step, test, lines)


def _adaptation(values: Iterable[float], metric: str = "mse", title: str = LONG) -> Callable[[Path], None]:
    scores = [Score(metric, value, value / 50, 600) for value in values]
    return lambda path: adaptation_curve(path, title, scores)


def _fits(*sizes: float) -> Callable[[Path], None]:
    x = np.linspace(-5, 5, 50)
    tasks = [Fit(x, a * np.sin(x), x[:5], a * x[:5], {0: a * x, 1: a * np.cos(x), 1000: a * np.sin(x)}) for a in sizes]
    return lambda path: function_fits(path, LONG, tasks)


def _sequences(count: int, size: float) -> Callable[[Path], None]:
    t = np.arange(20)
    values = size * np.sin(t)
    task = Continuation(values[:12], values[12:], {0: np.zeros(8), 1: 0.5 * values[12:], 5: 0.9 * values[12:]})
    return lambda path: continuations(path, LONG, [task] * count)


def _episodes(n_way: int, shots: int, title: str = LONG) -> Callable[[Path], None]:
    y = np.repeat(np.arange(n_way), shots)
    x = np.random.default_rng(0).random((len(y), 3, 5, 5))
    episode = Shown(x, y, x, y, np.roll(y, 1), np.ones(len(y)))
    return lambda path: adapted_episodes(path, title, [episode] * 2)


FIGURES: dict[str, Callable[[Path], None]] = {
    "usual": _learning(Curve([20, 40, 60], [0.2, 0.5, 0.6], [0.1] * 3), Curve(SPARSE, SPARSE), title="MAML on glyphs"),
    "many steps": _learning(
        Curve([1_000_000 * i for i in range(1, 7)], [12345.67 - 100 * i for i in range(6)], [1234.5] * 6),
        Curve([100_000 * i for i in SPARSE], [10.0**-i for i in SPARSE]), "mse", score=12345.67,
    ),
    "narrow range": _learning(Curve([10, 20, 30], [0.99965, 0.9997, 0.99968]), Curve([1, 2, 3], [1.0, 1.0, 1.0])),
    "less than two powers of ten": _learning(NOTHING, Curve(SPARSE, [1.5 * 1.06**i for i in SPARSE])),
    "enormous": _learning(Curve([1, 2, 3], [1e30, 1e28, 1e29]), NOTHING, "mse", score=1e30),
    "negative loss": _learning(NOTHING, Curve(SPARSE, [-1234567.0 * i for i in SPARSE]), "mse"),
    "steps up": _adaptation([0.2, 0.99, 0.9967, 0.9997], "accuracy", "ANIL on glyphs, 5-way 1-shot"),
    "steps down": _adaptation([12345.67, 8000.0, 7000.0, 6400.1]),
    "many adaptation steps": _adaptation([1 / i for i in range(1, 102)]),
    "one function": _fits(2.0),
    "large functions": _fits(12345.67, -12345.67, 0.001),
    "small functions": _fits(1e-6, 1e-7),
    "sequences": _sequences(6, 1000.0),
    "four sequences": _sequences(4, 1e-3),
    "two classes": _episodes(2, 1),
    "one image": _episodes(1, 1, "ProtoNet on a dataset of one class"),
    "30 classes": _episodes(30, 2),
    "four classes": _episodes(4, 5),
}  # fmt: skip


@pytest.fixture
def papers(monkeypatch: pytest.MonkeyPatch) -> list[Paper]:
    """What the test's figures are drawn on."""
    found: list[Paper] = []
    pixels = Paper.pixels
    monkeypatch.setattr(Paper, "pixels", lambda paper: (found.append(paper), pixels(paper))[1])
    return found


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[Sheet]:
    """The test's figures with panels."""
    found: list[Sheet] = []
    draw = Sheet.draw
    monkeypatch.setattr(Sheet, "draw", lambda sheet: (found.append(sheet), draw(sheet))[1])
    return found


def _meet(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    a0, b0, a1, b1 = first
    c0, d0, c1, d1 = second
    return a0 < c1 and c0 < a1 and b0 < d1 and d0 < b1


def _faults(paper: Paper, sheets: Iterable[Sheet] = ()) -> list[str]:
    """Texts that are cut, that lie on others, or that are partly in a panel."""
    labels = [label for label in paper.labels if label.text.strip()]
    faults = [f"cut: {label.text}" for label in labels if not _inside(label[1:], (0, 0, paper.width, paper.height))]
    faults += [f"{a.text} on {b.text}" for a, b in combinations(labels, 2) if _meet(a[1:], b[1:])]
    panels = [axes.bbox.extents for sheet in sheets for axes in sheet.figure.axes]
    for label in labels:
        faults += [f"in a panel: {label.text}" for ends in panels if _meet(label[1:], ends) != _inside(label[1:], ends)]
    return faults


def _inside(ends: tuple[float, ...], whole: tuple[float, ...]) -> bool:
    return ends[0] >= whole[0] and ends[1] >= whole[1] and ends[2] <= whole[2] and ends[3] <= whole[3]


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_or_lies_on_another(name: str, tmp_path: Path, papers: list[Paper], sheets: list[Sheet]) -> None:
    FIGURES[name](tmp_path / "a.png")
    (paper,) = papers
    assert len(paper.labels) > 3
    assert _faults(paper, sheets) == []
    for axes in (axes for sheet in sheets for axes in sheet.figure.axes):
        assert _outside(x_ticks(axes), axes.bbox.x0, axes.bbox.x1) == []
        assert _outside(y_ticks(axes), axes.bbox.y0, axes.bbox.y1) == []


def _outside(ticks: Ticks, low: float, high: float) -> list[float]:
    """Ticks that are not at the axis, which is a pixel wide at its ends."""
    return [place for place in (*ticks.at, *ticks.minor) if not low - 1 <= place <= high + 1]


def test_texts_that_are_cut_or_lie_on_others_are_found(
    tmp_path: Path, papers: list[Paper], sheets: list[Sheet], monkeypatch: pytest.MonkeyPatch
) -> None:
    paper = Paper((2.0, 1.0))
    font = Font(10.0, INK)
    paper.text(150, 75, "middle", font)
    assert _faults(paper) == []
    paper.text(152, 80, "on it", font)
    paper.text(290, 120, "at the edge", font)
    assert _faults(paper) == ["cut: at the edge", "middle on on it"]
    with monkeypatch.context() as patch:
        patch.setattr(arrange_module, "wrapped", lambda text, *_, **__: [text])
        FIGURES["large functions"](tmp_path / "a.png")
    assert f"cut: {LONG}" in _faults(papers[-1], sheets)
    axes = sheets[-1].figure.axes[0]
    assert _outside(x_ticks(axes), axes.bbox.x0 + 90, axes.bbox.x1) != []
    axes.set_position((0.0, 0.0, 1.0, 1.0))
    papers[-1].labels[:] = [Label("at the border", -5, 20, 30, 40)]
    assert _faults(papers[-1], sheets[-1:]) == ["cut: at the border", "in a panel: at the border"]


def test_a_long_title_is_shown_whole_in_lines(tmp_path: Path, papers: list[Paper]) -> None:
    FIGURES["steps down"](tmp_path / "a.png")
    assert LONG in [label.text.replace("\n", " ") for label in papers[0].labels]
    assert LONG not in [label.text for label in papers[0].labels]


def test_text_is_wrapped_between_words_then_within_them_and_cut_off_at_last() -> None:
    room = width("as wide as this", 10.0)
    lines = wrapped("as wide as this and then more", room, 10.0)
    assert lines == ["as wide as this", "and then more"]
    assert wrapped("as wide as this", room, 10.0) == ["as wide as this"]
    long = wrapped("a" * 60, room, 10.0, most=9)
    assert "".join(long) == "a" * 60
    assert all(width(line, 10.0) <= room for line in long)
    cut = wrapped("word " * 60, room, 10.0, most=2)
    assert len(cut) == 2
    assert cut[-1].endswith("…")
    assert width(cut[-1], 10.0) <= room


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0.0, 10.0, 20.0], ["0", "10", "20"]),
        ([2.0, 2.25, 2.5], ["2.00", "2.25", "2.50"]),
        ([-0.2, 0.0, 0.2], ["\N{MINUS SIGN}0.2", "0.0", "0.2"]),
        ([12000.0, 14000.0], ["12,000", "14,000"]),
        ([0.0, 1e-7, 2e-7], ["0", "10⁻⁷", "2·10⁻⁷"]),
        ([2.5e30, 5e30], ["2.5·10³⁰", "5.0·10³⁰"]),
        ([5.0], ["5"]),
        ([], []),
    ],
)
def test_numbers_at_ticks_are_short_and_equally_exact(values: list[float], names: list[str]) -> None:
    assert format_numbers(values) == names
