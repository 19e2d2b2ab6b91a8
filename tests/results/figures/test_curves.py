"""Figures: the right content, equal files for equal numbers, no trace in matplotlib's global state."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

from metaexp.core.errors import RunFolderError
from metaexp.core.json_lines import METRICS_FILE, encode
from metaexp.results.episodes import EPISODES_FILE, write_episodes
from metaexp.results.figures import style
from metaexp.results.figures.curves import Lines, Selected, adaptation_curve, learning_curve
from metaexp.results.figures.episodes import AdaptedEpisode, _choose, adapted_episodes, name_of_class
from metaexp.results.figures.fits import Continuation, Fit, continuations, function_fits
from metaexp.results.figures.run_curves import draw_curves, format_title
from metaexp.results.figures.style import GREEN, VERMILION
from metaexp.results.history import Curve, read_history
from metaexp.results.record import Reference, RunRecord, Score

NOTHING = Curve([], [])


def _learning(path: Path, top: float = 0.9, title: str = "maml on glyphs") -> None:
    validation = Curve([10, 20, 30], [0.5, top, 0.8], [0.02, 0.02, 0.02])
    loss = Curve(list(range(1, 31)), [2.0 / step for step in range(1, 31)])
    score = Score("accuracy", 0.85, 0.01, 600)
    learning_curve(path, title, "accuracy", validation, loss, Selected(20), score, Lines(0.2))


def _adaptation(path: Path, top: float = 0.9, title: str = "maml") -> None:
    adaptation_curve(path, title, [Score("mse", value, 0.1, 600) for value in (2.0, top, top)])


def _episodes(path: Path, top: float = 0.9, title: str = "maml") -> None:
    x = torch.rand(6, 1, 5, 5, generator=torch.Generator().manual_seed(0)) * top
    x[:, :, 0, 0] = 2.0
    y = torch.tensor([2, 0, 1, 0, 2, 1])
    adapted_episodes(path, title, [AdaptedEpisode(x, y, x, y, y, torch.full((6,), top))])


def _functions(path: Path, top: float = 0.9, title: str = "maml") -> None:
    x = np.linspace(-5, 5, 50)
    function_fits(path, title, [Fit(x, np.sin(x), x[:5], np.sin(x[:5]), {0: x * 0, 1: top * np.sin(x), 10: np.sin(x)})])


def _sequences(path: Path, top: float = 0.9, title: str = "maml") -> None:
    t = np.arange(20)
    task = Continuation(np.sin(t[:12]), np.sin(t[12:]), {0: np.zeros(8), 5: top * np.sin(t[12:])})
    continuations(path, title, [task] * 4)


FIGURES: list[Callable[..., None]] = [_learning, _adaptation, _episodes, _functions, _sequences]


@pytest.mark.parametrize("draw", FIGURES)
def test_equal_numbers_give_equal_files_and_other_numbers_do_not(draw: Callable[..., None], tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    for name, top in (("a", 0.9), ("b", 0.9), ("c", 0.7)):
        draw(tmp_path / "plots" / f"{name}.png", top)
    first, again, other = ((tmp_path / "plots" / f"{name}.png").read_bytes() for name in "abc")
    assert first == again
    assert first != other
    assert dict(matplotlib.rcParams) == before
    with Image.open(tmp_path / "plots" / "a.png") as image:
        assert min(image.size) >= 250
        assert max(image.size) <= 2200


def test_drawing_needs_no_display_and_no_pyplot(tmp_path: Path) -> None:
    code = (
        "import sys; from metaexp.results.figures.curves import *; from metaexp.results.record import Score\n"
        "adaptation_curve(Path(sys.argv[1]), 'x', [Score('mse', 1.0, 0.1, 6)] * 3)\n"
        "sys.exit(bool({'matplotlib.pyplot', 'torch', 'tkinter'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    assert subprocess.run(command, check=False, env={"HOME": str(tmp_path)}).returncode == 0
    assert (tmp_path / "a.png").exists()


def _share(path: Path, colour: str) -> float:
    """The share of pixels that have exactly ``colour``."""
    wanted = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    return float((pixels == wanted).all(-1).mean())


def test_right_answers_are_framed_green_and_wrong_ones_red(tmp_path: Path) -> None:
    x, y = torch.rand(4, 1, 5, 5), torch.tensor([0, 1, 2, 3])
    adapted_episodes(tmp_path / "right.png", "maml", [AdaptedEpisode(x, y, x, y, y)])
    adapted_episodes(tmp_path / "wrong.png", "maml", [AdaptedEpisode(x, y, x, y, y.roll(1))])
    assert _share(tmp_path / "right.png", GREEN) > 0.001
    assert _share(tmp_path / "right.png", VERMILION) == 0
    assert _share(tmp_path / "wrong.png", VERMILION) > 0.001
    assert _share(tmp_path / "wrong.png", GREEN) == 0


@pytest.mark.parametrize("shape", [(3, 6, 6), (6, 6)])
def test_colour_images_and_sequences_are_shown_too(shape: tuple[int, ...], tmp_path: Path) -> None:
    x, y = torch.rand(2, *shape), torch.tensor([0, 1])
    adapted_episodes(tmp_path / "a.png", "maml", [AdaptedEpisode(x, y, x, y, y)])
    assert (tmp_path / "a.png").exists()


def test_images_are_shown_by_class_equally_many_of_each() -> None:
    labels = np.array([1, 0, 1, 0, 1, 0.0])
    assert _choose(labels) == [1, 3, 5, 0, 2, 4]
    assert _choose(np.repeat(np.arange(5.0), 5)) == [0, 1, 5, 6, 10, 11, 15, 16, 20, 21]
    assert _choose(np.arange(20.0)) == list(range(10))


def test_classes_have_letters_and_then_numbers() -> None:
    assert [name_of_class(label) for label in (0, 25, 26)] == ["A", "Z", "27"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: learning_curve(path, "x", "accuracy", Curve([1, 2], [0.5, 0.6]), NOTHING, Selected(1), None),
        lambda path: adaptation_curve(path, "x", [Score("mse", 1.0, 0.1, 6)] * 2),
        lambda path: adapted_episodes(path, "x", []),
        lambda path: adapted_episodes(path, "x", [AdaptedEpisode(*[torch.zeros(2)] * 5)]),
        lambda path: function_fits(path, "x", []),
        lambda path: continuations(path, "x", []),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_leaves_no_file(draw: Callable[[Path], None], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"needs at least|is not an image"):
        draw(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def _labels(axes: list[Any]) -> list[str]:
    return [label for panel in axes for label in panel.get_legend_handles_labels()[1]]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The axes of the figures that the test draws."""
    found: list[Any] = []
    close = style.Canvas.__exit__

    def keep(canvas: style.Canvas, *reason: Any) -> None:
        found.extend(canvas.figure.axes)
        close(canvas, *reason)

    monkeypatch.setattr(style.Canvas, "__exit__", keep)
    return found


LONG = f"ProtoNet on multi_domain of {', '.join(['omniglot', 'icons', 'emoji', 'fonts', 'glyphs'] * 3)}, 5-way 1-shot"


@pytest.mark.parametrize("draw", FIGURES)
def test_a_long_title_is_not_cut(draw: Callable[..., None], tmp_path: Path, drawn: list[Any]) -> None:
    draw(tmp_path / "a.png", title=LONG)
    figure = drawn[0].figure
    (title,) = figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_text() == LONG)
    assert title.get_window_extent().x1 <= figure.bbox.x1
    assert title.get_window_extent().y1 <= figure.bbox.y1
    title.set_wrap(False)
    assert title.get_window_extent().x1 > figure.bbox.x1, "the control: this title is too long for one line"


@pytest.mark.parametrize("tests_last", [False, True])
@pytest.mark.parametrize("is_tested", [False, True])
def test_the_legend_says_which_weights_were_tested(
    folder: Path, record: RunRecord, drawn: list[Any], tests_last: bool, is_tested: bool
) -> None:
    if not is_tested:
        (folder / EPISODES_FILE).unlink()
    config = {**record.config, "eval": {"weights": "last" if tests_last else "best"}}
    draw_curves(folder, dataclasses.replace(record, config=config, selected_step=30 if tests_last else 20))
    last = "tested: last step, 30" if is_tested else "last step, 30"
    assert [label for label in _labels(drawn) if "step" in label] == [last if tests_last else "selected: step 20"]


@pytest.mark.parametrize(("n_episodes", "half"), [(1, 0.0), (2, 0.1)])
def test_an_interval_is_drawn_only_where_there_are_two_episodes(
    n_episodes: int, half: float, tmp_path: Path, drawn: list[Any]
) -> None:
    score = Score("accuracy", 0.5, half, n_episodes)
    validation = Curve([1, 2, 3], [0.4, 0.5, 0.5], [half] * 3)
    learning_curve(tmp_path / "a.png", "x", "accuracy", validation, NOTHING, Selected(2), score)
    adaptation_curve(tmp_path / "b.png", "x", [score] * 3)
    assert ("validation, 95 % interval" in _labels(drawn)) == (n_episodes > 1)
    assert ("test, 95 % interval" in _labels(drawn)) == (n_episodes > 1)
    assert any("one episode: no interval" in label for label in _labels(drawn)) == (n_episodes == 1)


@pytest.mark.parametrize("name", ["validation", "validation (172 classes trained on)"])
def test_the_legend_names_validation_and_is_not_cut(name: str, tmp_path: Path, drawn: list[Any]) -> None:
    score = Score("accuracy", 0.5, 0.1, 10_000)
    validation = Curve([1000, 2000, 3000], [0.4, 0.5, 0.5], [0.1] * 3, name)
    lines = Lines(0.2, Reference("Finn et al.", "Table 1", "accuracy", 0.987, 0.004, "one"))
    learning_curve(tmp_path / "a.png", "x", "accuracy", validation, NOTHING, Selected(3000), score, lines)
    assert any(label.startswith(name) for label in _labels(drawn))
    figure = drawn[0].figure
    (legend,) = figure.legends
    assert legend.get_window_extent().x1 <= figure.bbox.x1


@pytest.mark.parametrize(("n_validations", "lines"), [(2, 1), (3, 2)])
def test_two_numbers_are_points_and_three_are_a_line(
    n_validations: int, lines: int, tmp_path: Path, drawn: list[Any]
) -> None:
    steps = list(range(1, n_validations + 1))
    validation = Curve(steps, [0.5] * n_validations, [0.1] * n_validations)
    learning_curve(tmp_path / "a.png", "x", "accuracy", validation, Curve([1, 2, 3], [2.0, 1.5, 1.0]), None, None)
    curves = [line for panel in drawn for line in panel.get_lines() if line.get_linestyle() == "-"]
    assert len(curves) == lines


def _heights(panel: Any, *accuracies: float) -> list[float]:
    """Where accuracies are, from 0 at the foot of the axes to 1 at the top."""
    places = panel.transData.transform([(1.0, accuracy) for accuracy in accuracies])
    return [float(height) for height in panel.transAxes.inverted().transform(places)[:, 1]]


def test_the_last_percents_of_an_accuracy_have_room(tmp_path: Path, drawn: list[Any]) -> None:
    late, early = Curve([1, 2, 3], [0.97, 0.98, 0.99]), Curve([1, 2, 3], [0.3, 0.9, 0.99])
    for name, curve in (("late", late), ("early", early)):
        learning_curve(tmp_path / f"{name}.png", "x", "accuracy", curve, NOTHING, None, None, Lines(chance=0.2))
    adaptation_curve(tmp_path / "c.png", "x", [Score("accuracy", mean, 0.001, 600) for mean in (0.2, 0.97, 0.99)])
    for panel in drawn:
        low, high = _heights(panel, 0.97, 0.99)
        assert 0.0 < low < high < 1.0
        assert high - low > 0.15
    assert [("chance" in _labels([panel])) for panel in drawn] == [False, True, False]
    assert all(0.0 < height < 0.5 for height in _heights(drawn[1], 0.2, 0.3)), "all of the curve is on the axes"


def test_a_published_number_above_the_curve_has_its_own_place(tmp_path: Path, drawn: list[Any]) -> None:
    lines = Lines(0.2, Reference("a paper", "table 1", "accuracy", 0.99, None, "as here"))
    learning_curve(tmp_path / "a.png", "x", "accuracy", Curve([1, 2, 3], [0.3, 0.9, 0.96]), NOTHING, None, None, lines)
    low, high = _heights(drawn[0], 0.98, 0.99)
    assert low < high < 1.0


@pytest.mark.parametrize("least", [0.033, 0.01, 1e-4, 1e-9])
def test_the_numbers_of_a_loss_over_several_decades_are_apart_and_plain(
    tmp_path: Path, drawn: list[Any], least: float
) -> None:
    loss = Curve(list(range(1, 31)), [float(value) for value in np.geomspace(0.9, least, 30)])
    learning_curve(tmp_path / "a.png", "x", "accuracy", Curve([1, 2, 3], [0.3, 0.9, 0.96]), loss, None, None)
    panel = next(panel for panel in drawn if panel.get_yscale() == "log")
    labels = [label for label in panel.get_yticklabels(which="both") if label.get_text() and label.get_visible()]
    boxes = [label.get_window_extent() for label in labels]
    inside = sorted(
        (box for box in boxes if panel.bbox.y0 - 1 <= (box.y0 + box.y1) / 2 <= panel.bbox.y1 + 1), key=lambda b: b.y0
    )
    assert len(inside) >= 2
    assert all(below.y1 < above.y0 for below, above in pairwise(inside))
    assert not any("$" in label.get_text() for label in labels)


def test_no_error_at_all_can_be_drawn(tmp_path: Path, drawn: list[Any]) -> None:
    learning_curve(tmp_path / "a.png", "x", "accuracy", Curve([1, 2, 3], [0.2, 1.0, 1.0]), NOTHING, None, None)
    assert _heights(drawn[0], 1.0) == [pytest.approx(1.0)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [encode(step, {"train/loss": 1 / step}) for step in range(1, 31)]
    lines += [
        encode(step, {"val/accuracy": mean, "val/ci95": 0.01}) for step, mean in ((10, 0.5), (20, 0.9), (30, 0.9))
    ]
    (tmp_path / METRICS_FILE).write_bytes(b"".join(lines))
    write_episodes(tmp_path / EPISODES_FILE, [[0.2, 0.4], [0.7, 0.9], [0.8, 1.0]])
    return tmp_path


def test_a_runs_curves_come_from_its_files(folder: Path, record: RunRecord) -> None:
    history = read_history(folder)
    assert history.metric == "accuracy"
    assert history.validation == Curve([10, 20, 30], [0.5, 0.9, 0.9], [0.01] * 3)
    assert history.best_step == 20, "the earlier of equals"
    assert [round(score.mean, 3) for score in history.after_steps] == [0.3, 0.8, 0.9]
    assert history.test == history.after_steps[-1]
    drawn = draw_curves(folder, record)
    assert set(drawn) == {"learning_curve", "adaptation_curve"}
    assert all(path.parent == folder / "plots" and path.exists() for path in drawn.values())


def test_an_error_is_selected_where_it_is_smallest(tmp_path: Path) -> None:
    lines = [encode(step, {"val/mse": mean}) for step, mean in ((10, 0.5), (20, 0.3), (30, 0.4))]
    (tmp_path / METRICS_FILE).write_bytes(b"".join(lines))
    history = read_history(tmp_path)
    assert (history.metric, history.best_step, history.validation.ci95) == ("mse", 20, None)
    assert history.test is None


def test_a_run_without_numbers_has_no_curves(tmp_path: Path, record: RunRecord) -> None:
    assert draw_curves(tmp_path, record) == {}
    (tmp_path / METRICS_FILE).write_bytes(b"damage\n")
    with pytest.raises(RunFolderError, match="line 1"):
        draw_curves(tmp_path, record)


@pytest.mark.parametrize(
    ("algorithm", "section", "name"),
    [
        ("maml", {"first_order": True}, "First-order MAML"),
        ("mine", {"first_order": True}, "First-order mine"),
        ("maml", {"first_order": False}, "MAML"),
        ("reptile", {}, "Reptile"),
        ("maml", None, "MAML"),
    ],
)
def test_the_title_says_of_an_algorithm_with_either_order_that_it_is_first_order(
    record: RunRecord, algorithm: str, section: object, name: str
) -> None:
    config = record.config | {"algorithm": section}
    title = format_title(dataclasses.replace(record, algorithm=algorithm, config=config))
    assert title == f"{name} on {record.dataset}, 5-way 1-shot"
