"""Comparisons over several tasks: which names stand for the same settings, and points that stand alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from metaexp.compare.comparison import ComparedRuns, compare
from metaexp.compare.gather import gather
from metaexp.compare.output.cells import tasks_cells
from metaexp.compare.output.colours import Look
from metaexp.compare.output.documents import to_markdown
from metaexp.compare.output.draw import draw_line
from metaexp.compare.output.figure_data import Point, Series
from metaexp.compare.output.figures import figures
from metaexp.compare.output.page import to_html
from metaexp.compare.output.paper import to_tables
from metaexp.compare.output.wording import format_headline
from tests.compare.conftest import MakeRun, decide


def compared(folder: Path) -> ComparedRuns:
    found = gather([folder])
    return compare(found.runs, found.left_out, [], decide, "A title", "metaexp compare x")


def test_a_name_that_stands_for_other_settings_on_another_task_is_said(make_run: MakeRun, tmp_path: Path) -> None:
    for shot, rate in ((1, 0.001), (5, 0.01)):
        chosen = {"optimizer.lr": rate, "eval.weights": "best" if shot == 1 else "last"}
        make_run("maml", 0, shot=shot, config=chosen, batch_norm="none" if shot == 1 else "running")
        make_run("proto_net", 0, shot=shot, device=None)
    comparison = compared(tmp_path / "sweep")
    said = "Not the same settings on all tasks: MAML (eval.weights, optimizer.lr, batch_norm)."
    (shots,) = (item for item in figures(comparison) if item.name == "shots_5_way")
    assert tasks_cells(comparison).note == said
    assert shots.note.endswith(f"episodes. {said}")
    assert said in to_html(comparison, {})
    assert said.replace("_", r"\_") in to_markdown(comparison, {})
    assert said.replace("_", r"\_") in to_tables(comparison)
    assert "Not the same settings" not in to_html(compared(tmp_path / "sweep" / "run_000"), {})


def test_settings_that_are_the_same_on_all_tasks_are_not_called_different(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("maml", 0, config={"optimizer.lr": 0.01})
    make_run(
        "maml", 0, shot=5, n=40, config={"optimizer.lr": 0.01, "dataset.split": "other"}, versions={"torch": "9.9"}
    )
    make_run("maml", 0, shot=10, way=0, metric="mse", config={"optimizer.lr": 0.1})  # in no table with the others
    comparison = compared(tmp_path / "sweep")
    assert len(comparison.tables) == 3
    assert comparison.unlike == {"mse": {}, "accuracy": {}}
    assert {item.note.partition("episodes.")[2] for item in figures(comparison) if item.name == "shots_5_way"} == {""}


def test_each_metric_has_its_own_sentence(make_run: MakeRun, tmp_path: Path) -> None:
    for shot, rate in ((5, 0.01), (10, 0.1)):
        make_run("maml", 0, shot=shot, way=0, metric="mse", config={"optimizer.lr": rate})
        make_run("maml", 0, shot=shot)
    comparison = compared(tmp_path / "sweep")
    ends = {item.name: item.note.partition("episodes.")[2] for item in figures(comparison) if "shots" in item.name}
    said = " Not the same settings on all tasks: MAML (optimizer.lr)."
    assert ends == {"shots_regression": said, "shots_5_way": ""}
    assert tasks_cells(comparison).note == said.strip()


def test_a_line_of_one_point_shows_its_interval() -> None:
    axes = Figure().subplots()
    alone, two = [Point(1.0, 0.5, 0.4, 0.7)], [Point(1.0, 0.5, 0.4, 0.7), Point(5.0, 0.8, 0.8, 0.8)]
    drawn = []
    for points in (alone, two, [Point(1.0, 0.5, 0.5, 0.5)]):
        before = len(axes.lines)
        draw_line(axes, Series("maml", Look(0), points, []), 100.0)
        drawn.append([[float(y) for y in line.get_ydata()] for line in axes.lines[before:]])  # type: ignore[union-attr]
    assert drawn == [[[40.0, 70.0], [50.0]], [[50.0, 80.0]], [[50.0]]]


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (
            {"maml": 2, "proto_net": 3},
            "MAML has two seeds. Two say little about how much seeds differ, so its intervals",
        ),
        ({"maml": 2, "proto_net": 2}, "All rows have two seeds. Two say little .* so their intervals are wide"),
        ({"maml": 2, "anil": 2, "proto_net": 3}, "Some rows have two seeds."),
        ({"maml": 1, "proto_net": 3}, ""),
    ],
)
def test_rows_of_two_seeds_are_named(make_run: MakeRun, tmp_path: Path, seeds: dict[str, int], said: str) -> None:
    for algorithm, number in seeds.items():
        for seed in range(number):
            make_run(algorithm, seed)
    found = [line for line in format_headline(compared(tmp_path / "sweep").tables[0]) if "two seeds" in line]
    assert len(found) == bool(said)
    assert re.search(said, " ".join(found))
