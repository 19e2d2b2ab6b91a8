"""The figures of a search: what is in them, and when none is drawn."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

pytest.importorskip("optuna")
from metaexp.config.compose import Composer
from metaexp.core.metric import Metric
from metaexp.results.figures import style
from metaexp.search.figures import _best_so_far, draw_search
from metaexp.search.options import SearchOptions
from metaexp.search.point import Point
from metaexp.search.space import Choices, Dimension, Interval, Steps
from metaexp.search.study import Study
from metaexp.search.summary import SearchResult, format_too_few

DIMENSIONS: list[Dimension] = [
    Interval("algorithm.inner_lr", 0.001, 1.0, integer=False, log=True),
    Steps("algorithm.inner_steps", (1, 2, 3)),
    Choices("algorithm", ("maml", "anil"), is_group=True),
]

_IS = ("are", "is")


def found(folder: Path, n_trials: int, importances: dict[str, float] | None = None, n_way: int = 5) -> SearchResult:
    """A search with as many completed trials, and one that was stopped early."""
    draw = random.Random(0)
    points = [
        Point(i, "complete", draw.random(), (10 ** draw.uniform(-3, 0), 1 + i % 3, ("maml", "anil")[i % 2]), {}, {})
        for i in range(n_trials)
    ]
    points.append(Point(n_trials, "pruned", None, (0.5, 1, "maml"), {50: 0.2}, {}))
    prepared: Any = SimpleNamespace(path=folder, metric=Metric.of(n_way), space=SimpleNamespace(dimensions=DIMENSIONS))
    return SearchResult(prepared, points, importances or {}, exhausted=False, overrides=[])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn."""
    figures: list[Figure] = []
    leave = style.Canvas.__exit__

    def keep(self: style.Canvas, *reason: Any) -> None:
        figures.append(self.figure)
        leave(self, *reason)

    monkeypatch.setattr(style.Canvas, "__exit__", keep)
    return figures


def test_history_slices_and_importance_are_drawn(tmp_path: Path, drawn: list[Figure]) -> None:
    paths = draw_search(found(tmp_path, 12, {"algorithm.inner_lr": 0.8, "algorithm": 0.2}))
    assert [path.name for path in paths] == ["history.png", "slices.png", "importance.png"]
    for path in paths:
        with Image.open(path) as image:
            assert image.size[0] > 500
    history, slices, importance = drawn
    assert [text.get_text() for text in history.legends[0].get_texts()] == [
        "stopped early, at its last validation", "completed", "best so far",
    ]  # fmt: skip
    assert [axes.get_xlabel() for axes in slices.axes] == [dimension.key for dimension in DIMENSIONS]
    assert [axes.get_xscale() for axes in slices.axes] == ["log", "linear", "linear"]
    assert all(len(axes.collections) == 12 for axes in slices.axes)
    assert [label.get_text() for label in importance.axes[0].get_yticklabels()] == ["algorithm", "algorithm.inner_lr"]


@pytest.mark.parametrize("n_keys", [1, 2, 3])
def test_the_title_above_the_panels_of_keys_is_not_cut_off(tmp_path: Path, drawn: list[Figure], n_keys: int) -> None:
    search = found(tmp_path, 12)
    search.prepared.space.dimensions = DIMENSIONS[:n_keys]
    draw_search(search)
    slices = drawn[1]
    title = slices.texts[0]
    assert title.get_window_extent().x1 < slices.bbox.x1
    title.set_text(title.get_text() * 3)
    assert title.get_window_extent().x1 > slices.bbox.x1


@pytest.mark.parametrize("low", [1e-6, 0.01, 0.02, 0.25])
def test_the_numbers_of_a_logarithmic_axis_are_apart(tmp_path: Path, drawn: list[Figure], low: float) -> None:
    search = found(tmp_path, 12)
    search.prepared.space.dimensions = [
        Interval("algorithm.inner_lr", low, 1.0, integer=False, log=True),
        *DIMENSIONS[1:],
    ]
    for i, point in enumerate(search.points):
        search.points[i] = point._replace(values=(max(low, 0.3 + i / 20), *point.values[1:]))
    draw_search(search)
    axes = drawn[1].axes[0]
    shown = [label for label in axes.get_xticklabels(which="both") if label.get_text() and label.get_visible()]
    boxes = [label.get_window_extent() for label in shown]
    inside = [box for box in boxes if axes.bbox.x0 - 1 <= (box.x0 + box.x1) / 2 <= axes.bbox.x1 + 1]
    assert len(inside) >= 2
    assert all(one.x1 < other.x0 for one, other in pairwise(sorted(inside, key=lambda box: box.x0)))


def test_importance_is_drawn_only_where_trials_carry_it(tmp_path: Path) -> None:
    assert [path.name for path in draw_search(found(tmp_path, 5))] == ["history.png", "slices.png"]
    assert not (tmp_path / "plots" / "importance.png").exists()
    (tmp_path / "plots" / "importance.png").touch()  # of a version that drew it of fewer trials
    draw_search(found(tmp_path, 6))
    assert not (tmp_path / "plots" / "importance.png").exists()


@pytest.mark.parametrize(("n_keys", "needed"), [(2, 10), (3, 10), (4, 12)])
def test_importance_needs_ten_trials_and_three_for_each_key(tmp_path: Path, n_keys: int, needed: int) -> None:
    keys: list[Dimension] = [Interval(f"k{i}", 0.0, 1.0, integer=False, log=False) for i in range(n_keys)]
    options = SearchOptions.parse(["search=random", "search.seed=0"], Composer()).options
    study = Study(tmp_path, options, keys, Metric.of(5), 1)
    prepared: Any = SimpleNamespace(path=tmp_path, metric=Metric.of(5), space=SimpleNamespace(dimensions=keys))
    for done in range(1, needed + 1):
        point = study.ask()
        study.complete(point.number, float(point.values[0]))  # type: ignore[arg-type]
        shares = study.importances()
        text = format_too_few(SearchResult(prepared, study.points(), shares, exhausted=False, overrides=[]))
        if done < needed:
            assert shares == {}
            assert f"of the {n_keys} keys: it needs {needed} completed trials; {done} {_IS[done == 1]} not" in text
    assert max(shares, key=shares.__getitem__) == "k0"
    assert sum(shares.values()) == pytest.approx(1.0)
    assert text == ""


def test_one_key_has_no_importance(tmp_path: Path) -> None:
    key = Interval("k", 0.0, 1.0, integer=False, log=False)
    study = Study(tmp_path, SearchOptions.parse(["search=random"], Composer()).options, [key], Metric.of(5), 1)
    for _ in range(12):
        point = study.ask()
        study.complete(point.number, float(point.values[0]))  # type: ignore[arg-type]
    assert study.importances() == {}


def test_two_trials_have_no_figure_of_their_course(tmp_path: Path) -> None:
    assert draw_search(found(tmp_path, 2)) == []
    assert not (tmp_path / "plots").exists()
    assert len(draw_search(found(tmp_path, 3))) == 2


@pytest.mark.parametrize(("n_way", "expected"), [(5, [0.2, 0.5, 0.5]), (0, [0.2, 0.2, 0.1])])
def test_the_best_so_far_is_the_highest_accuracy_or_the_lowest_error(n_way: int, expected: list[float]) -> None:
    points = [Point(i, "complete", value, (), {}, {}) for i, value in ((2, 0.1), (0, 0.2), (1, 0.5))]
    assert _best_so_far(points, Metric.of(n_way)) == ([0, 1, 2], expected)
