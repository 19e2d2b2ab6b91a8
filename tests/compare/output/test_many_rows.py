"""Comparisons of many rows and of varied settings: what is drawn over what, and tables that fit a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metaexp.compare.comparison import ComparedRuns, compare
from metaexp.compare.gather import gather
from metaexp.compare.output.cells import costs_cells, settings_cells, tasks_cells
from metaexp.compare.output.draw import draw, wrap_text
from metaexp.compare.output.figure_data import FigureData
from metaexp.compare.output.figures import MOST_LINES, figures
from metaexp.compare.output.page import to_html
from metaexp.compare.output.paper_figures import draw_paper
from metaexp.core.json_lines import TIMINGS_FILE, encode
from tests.compare.conftest import MakeRun, decide

RATES = (0.0003, 0.001, 0.003, 0.01)


def compared(folder: Path) -> ComparedRuns:
    found = gather([folder])
    return compare(found.runs, found.left_out, [], decide, "A title", "metaexp compare x")


def figure(comparison: ComparedRuns, name: str, axis: str = "steps") -> FigureData | None:
    return next((item for item in figures(comparison, axis) if item.name == name), None)


def test_one_varied_number_is_an_axis_with_a_line_for_each_algorithm(make_run: MakeRun, tmp_path: Path) -> None:
    for algorithm in ("maml", "proto_net"):
        for rate in RATES:
            make_run(algorithm, 0, mean=300 * rate, config={"optimizer.lr": rate})
    make_run("reptile", 0)  # one rate: no line
    found = figure(compared(tmp_path / "sweep"), "settings")
    assert found is not None
    assert {series.label for series in found.series} == {"MAML", "ProtoNet"}
    assert [[point.x for point in series.points] for series in found.series] == [list(RATES)] * 2
    assert (found.kind, found.x_label, found.values) == ("lines", "optimizer.lr", RATES)
    assert "optimizer.lr" in draw(found).svg
    assert set(draw_paper(found)) == {f"paper-settings-{n}col.{kind}" for n in (1, 2) for kind in ("pdf", "svg")}


def test_two_varied_numbers_are_a_heat_map_with_a_number_in_every_cell(make_run: MakeRun, tmp_path: Path) -> None:
    for rate in RATES[:3]:
        for steps in (1, 5):
            if (rate, steps) != (RATES[2], 5):  # this one was not run
                make_run("maml", 0, config={"optimizer.lr": rate, "algorithm.inner_steps": steps})
    found = figure(compared(tmp_path / "sweep"), "settings")
    assert found is not None
    assert found.kind == "cells"
    axes = {found.x_label: list(found.values), found.y_label: [float(series.label) for series in found.series]}
    assert axes == {"optimizer.lr": list(RATES[:3]), "algorithm.inner_steps": [5, 1]} or axes == {
        "algorithm.inner_steps": [1, 5], "optimizer.lr": list(RATES[2::-1]),
    }  # fmt: skip
    numbers = [f"{point.mean * 100:.1f}" for series in found.series for point in series.points]
    svg = draw(found).svg
    assert "<image" not in svg, "the page's policy loads no image, so that the map would not be shown"
    texts = re.findall(r"<text[^>]*>([\d.]+)</text>", svg)
    assert len(numbers) == 5
    assert all(number in texts for number in numbers)
    assert draw_paper(found)


def test_names_in_figures_break_at_their_joints_and_stay_whole() -> None:
    shown = wrap_text("Fine-tuning optimizer.lr=0.003 optimizer.weight_decay=0.0003", 22)
    assert shown.split("\n") == ["Fine-tuning", "optimizer.lr=0.003", "optimizer.weight_", "decay=0.0003"]
    assert wrap_text("x" * 30, 22) == f"{'x' * 22}\n{'x' * 8}"
    assert wrap_text(f"{'word ' * 30}", 22).endswith("\N{HORIZONTAL ELLIPSIS}")


def test_rates_that_a_search_drew_are_shown_in_short_and_told_apart(make_run: MakeRun, tmp_path: Path) -> None:
    for rate in (0.0123456789012, 0.0345678901234):
        make_run("maml", 0, config={"optimizer.lr": rate})
    (table,) = compared(tmp_path / "sweep").tables
    assert {row.name for row in table.rows} == {"MAML optimizer.lr=0.01235", "MAML optimizer.lr=0.03457"}
    assert {row.label for row in table.rows} == {f"maml optimizer.lr={r}" for r in (0.0123456789012, 0.0345678901234)}
    make_run("maml", 0, config={"optimizer.lr": 0.0123456789013})
    (table,) = compared(tmp_path / "sweep").tables
    long = {f"maml optimizer.lr=0.012345678901{end}" for end in (2, 3)}
    assert {row.name for row in table.rows} == {*long, "MAML optimizer.lr=0.03457"}


def test_rows_that_differ_in_other_ways_have_no_figure_of_settings(make_run: MakeRun, tmp_path: Path) -> None:
    for order in (True, False):
        make_run("maml", 0, config={"algorithm.first_order": order})
    make_run("proto_net", 0)
    assert figure(compared(tmp_path / "sweep"), "settings") is None


@pytest.mark.parametrize("orders", [(True,), (False,), (True, False)])
def test_lines_over_a_setting_say_which_order_maml_has(
    make_run: MakeRun, tmp_path: Path, orders: tuple[bool, ...]
) -> None:
    for order in orders:
        for rate in (0.1, 0.2, 0.3):
            make_run("maml", 0, config={"algorithm.first_order": order, "optimizer.lr": rate})
    found = figure(compared(tmp_path / "sweep"), "settings")
    assert found is not None
    names = {True: "MAML (first order)", False: "MAML"}
    assert {series.label for series in found.series} == {names[order] for order in orders}


def test_the_page_says_which_figure_is_drawn_when(make_run: MakeRun, tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "comparing.md").read_text()
    when = page.partition("## Which figure is drawn when")[2].partition("\n## ")[0]
    described = set(re.findall(r"^\| `(\w+)\.png` \|", when, re.MULTILINE))

    def drawn_with(rate: float, **task: int) -> set[str]:
        """The names of the figures once there is a row with this rate, too."""
        make_run("maml", 0, config={"optimizer.lr": rate}, **task)
        return {found.name for found in figures(compared(tmp_path / "sweep"))}

    usual = {"scores", "differences", "learning", "adaptation"}
    assert drawn_with(0.1) == usual - {"differences"}
    assert drawn_with(0.2) == usual
    assert drawn_with(0.3) == {*usual, "settings"}
    assert "have three values or more" in when
    assert drawn_with(0.1, shot=5) > {"shots_5_way", "scores_1", "scores_2"}
    assert drawn_with(0.1, way=20) > {"ways_1_shot", "scores_3"}
    assert described == {*usual, "settings", "shots_5_way", "ways_1_shot"}


def test_learning_is_drawn_over_steps_tasks_or_time(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in (0, 1):
        place = make_run("maml", seed, config={"train.meta_batch_size": 4})
        lines = [encode(step, {"time/training_seconds": step * (0.6 + 0.6 * seed)}) for step in (100, 200, 300)]
        (place / TIMINGS_FILE).write_bytes(b"".join(lines))
        make_run("fine_tune", seed, config={"train.meta_batch_size": 64})
    comparison = compared(tmp_path / "sweep")
    over = {axis: figure(comparison, "learning", axis) for axis in ("steps", "tasks", "time")}
    xs = {
        axis: {series.label: [point.x for point in series.points] for series in found.series}
        for axis, found in over.items()
        if found is not None
    }
    assert xs["steps"] == {"MAML": [100, 200, 300], "Fine-tuning": [100, 200, 300]}
    assert xs["tasks"] == {"MAML": [400, 800, 1200]}, "fine-tuning sees batches of examples"
    assert xs["time"] == {"MAML": [pytest.approx(x) for x in (1.5, 3.0, 4.5)]}, "the mean over seeds"
    cost = costs_cells(comparison.tables[0])
    column = [column.name for column in cost.columns].index("Tasks seen")
    tasks = {row[0].text: row[column].text for row in cost.rows}
    assert tasks["Fine-tuning"] == "-"
    assert tasks["MAML"] == f"{comparison.tables[0].rows[0].cost.steps * 4:,.0f}"


def test_a_learner_of_ones_own_says_in_its_record_whether_it_saw_tasks(make_run: MakeRun, tmp_path: Path) -> None:
    batch = {"train.meta_batch_size": 4}
    make_run("mine", config=batch, training_tasks="supervised")
    make_run("other", config=batch, training_tasks="episodes")
    make_run("fine_tune", config=batch, training_tasks="episodes")  # the record counts, not the name
    make_run("nearest_neighbour", config=batch)  # an older record
    found = figure(compared(tmp_path / "sweep"), "learning", "tasks")
    assert found is not None
    assert {series.label for series in found.series} == {"other", "Fine-tuning"}


def test_of_many_rows_each_value_of_a_setting_has_a_line_and_the_best_have_curves(
    make_run: MakeRun, tmp_path: Path
) -> None:
    for number in range(5):
        for rate in RATES:
            make_run(f"mine_{number}", 0, config={"optimizer.lr": rate})
    comparison = compared(tmp_path / "sweep")
    cells = settings_cells(comparison.tables[0])
    assert [column.name for column in cells.columns] == ["Setting", "Value", "Rows"]
    values = {row[1].text: row[2].text for row in cells.rows if row[0].text == "optimizer.lr"}
    assert set(values) == {"0.0003", "0.001", "0.003", "0.01"}
    assert sorted(len(text.split(", ")) for text in values.values()) == [1, 5, 5, 5]
    assert "the other 5 rows" in values.values()
    page = to_html(comparison, {})
    assert page.index("<summary><h3>Every pair: 190 lines</h3></summary>") < page.index("</details>")
    found = figure(comparison, "learning")
    assert found is not None
    assert len(found.series) == MOST_LINES
    assert "Only the best 12 of 20 rows." in found.note


def test_two_validations_have_no_curve(make_run: MakeRun, tmp_path: Path) -> None:
    place = make_run("maml", 0)
    lines = (place / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    assert figure(compared(tmp_path / "sweep"), "learning") is not None
    (place / "metrics.jsonl").write_bytes(b"".join([*lines[:2], lines[-1]]))
    assert figure(compared(tmp_path / "sweep"), "learning") is None


def test_several_tasks_have_one_table_of_all(make_run: MakeRun, tmp_path: Path) -> None:
    for shot in (1, 5):
        make_run("maml", 0, shot=shot)
    make_run("proto_net", 0, shot=5)
    cells = tasks_cells(compared(tmp_path / "sweep"))
    assert len(cells.columns) == 3
    shown = {row[0].text: [cell.text for cell in row[1:]] for row in cells.rows}
    assert set(shown) == {"MAML", "ProtoNet"}
    assert shown["ProtoNet"][0] == "-"
    assert all("%" in text for text in (*shown["MAML"], shown["ProtoNet"][1]))
    for place in (tmp_path / "sweep").glob("run_000"):
        assert tasks_cells(compared(place)).rows == []
