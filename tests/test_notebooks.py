"""Every cell of the notebooks runs, cut to a few steps, and what they show was made by running them.

The longest notebook runs every night.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from notebooks import code_cells, run_cell, run_cells
from programs import load_program
from sampling import size

import metaexp as mx
from metaexp.config.classes import targets
from metaexp.results.figures.shown import ShownFigure

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 400_000
_PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")


@pytest.fixture
def inside(tmp_path: Path, forked_jobs: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, where own packages are found; figures of runs are an empty picture, drawing takes longer."""

    def draw(folder: Any, *_: object) -> dict[str, Path]:
        (folder.path / "plots").mkdir()
        names = ("learning_curve", "adapted_episodes")
        for name in names:
            (folder.path / "plots" / f"{name}.png").write_bytes(_PNG)
        return {name: folder.path / "plots" / f"{name}.png" for name in names}

    monkeypatch.setattr("metaexp.run.outputs.draw", draw)
    monkeypatch.setattr(targets, "_trusted", set())
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("METAEXP_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shortened(source: str) -> str:
    """The same cell with fewer steps and episodes."""
    short = re.sub(r"train\.steps=\d+", "train.steps=3", source)
    short = re.sub(
        r"eval\.episodes=\d+", "eval.episodes=4 train.eval_episodes=4" if source[0] == "!" else "eval.episodes=4", short
    )
    return short.replace("train.eval_every=20", "train.eval_every=1")


@pytest.mark.parametrize("path", size(NOTEBOOKS[:3], NOTEBOOKS), ids=lambda path: path.stem)
def test_every_cell_of_a_notebook_runs(path: Path, inside: Path) -> None:
    values = run_cells(path, shortened)
    shown = [("image/png" in output.get("data", {}), cell) for cell in code_cells(path) for output in cell["outputs"]]
    n_figures = sum(isinstance(value, ShownFigure) for value in values)
    assert n_figures == sum(is_figure for is_figure, _ in shown) >= 1
    assert any(isinstance(value, (mx.Run, mx.Comparison)) for value in values)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_shows_was_made_by_running_it_from_the_top(path: Path) -> None:
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert [output for output in outputs if output["output_type"] == "error"] == []
    assert path.stat().st_size < MOST_BYTES
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"/(?:opt|home|root|tmp|work)/", text) == []  # of the machine that ran it
    assert "\\u001b" not in text  # colours of a terminal
    assert "\\r" not in text


def test_there_are_four_and_the_page_of_examples_names_each() -> None:
    page = (FOLDER.parent / "README.md").read_text()
    assert len(NOTEBOOKS) == 4
    assert [path.name for path in NOTEBOOKS if f"(notebooks/{path.name})" not in page] == []


def test_a_cell_that_does_not_work_would_be_seen(inside: Path) -> None:
    with pytest.raises(mx.ConfigError, match="train.stepps"):
        run_cell('import metaexp as mx\nmx.train("train.stepps=3")', {})
    with pytest.raises(AssertionError, match="ended with 2"):
        run_cell("!metaexp train train.stepps=3", {})
    assert run_cell("1 + 1", {}) == 2


def notebook(*texts: str) -> dict[str, Any]:
    """A notebook with a cell of text, and a cell that printed the texts and shows a figure."""
    printed = {"name": "stdout", "output_type": "stream", "text": [f"{text}\n" for text in texts]}
    figure = {"data": {"image/png": "AAAA"}, "output_type": "display_data"}
    code = {"cell_type": "code", "execution_count": 1, "outputs": [printed, figure], "source": ["1"]}
    return {"cells": [{"cell_type": "markdown", "source": ["words"]}, code], "metadata": {"mine": 1}}


@pytest.mark.parametrize(
    ("before", "after", "is_same"),
    [
        ("run folder: outputs/maml-20261128-035510-140755", "run folder: outputs/maml-20270101-000000-000001", True),
        ("test accuracy 74.52 ± 2.60 %, 8 s", "test accuracy 74.52 ± 2.60 %, 1 min", True),
        ("test accuracy 74.52 ± 2.60 %, 8 s", "test accuracy 74.53 ± 2.60 %, 8 s", False),
        ("ProtoNet   60   720    7 s    130   291 MiB", "ProtoNet   60   720   12 s   99.5   293 MiB", True),
        ("ProtoNet   60   720    7 s    130   291 MiB", "ProtoNet   60   721    7 s    130   291 MiB", False),
        ("seed 3", "seed 4", False),
    ],
)
def test_a_notebook_says_the_same_where_only_dates_times_and_memory_differ(
    before: str, after: str, is_same: bool
) -> None:
    said = load_program("scripts/notebooks.py").what_is_said
    assert (said(notebook(before, "6 jobs")) == said(notebook(after, "6 jobs"))) is is_same
    assert said(notebook("sweep 27/600  job 0: train  about 2 min left", before)) == said(notebook(before))


def test_a_run_again_changes_outputs_alone_and_leaves_a_notebook_that_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, path = load_program("scripts/notebooks.py"), tmp_path / "one.ipynb"
    monkeypatch.setattr(program, "executed", lambda _: notebook("6 jobs, 9 s") | {"metadata": {"by": "Jupyter"}})
    path.write_text(json.dumps(notebook("6 jobs, 7 s")))
    before = path.read_bytes()
    assert not program.run_notebook(path)
    assert path.read_bytes() == before
    path.write_text(json.dumps(notebook("5 jobs, 7 s")))
    assert program.run_notebook(path)
    assert json.loads(path.read_text()) == notebook("6 jobs, 9 s")


def test_what_a_command_of_a_cell_prints_for_a_terminal_is_written_as_lines_of_a_file() -> None:
    program = load_program("scripts/notebooks.py")
    ran = notebook("6 jobs   \r", "", "  next: \r")
    text = program.with_outputs(notebook(), ran)["cells"][1]["outputs"][0]["text"]
    assert text == ["6 jobs\n", "\n", "  next:\n"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_written_as_the_program_writes_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n" == text


def test_a_figure_is_shown_and_saved(tmp_path: Path) -> None:
    figure = ShownFigure("curve", _PNG)
    assert figure._repr_png_() == _PNG
    assert figure.save(tmp_path).name == "curve.png"
    assert figure.save(tmp_path / "other.png").read_bytes() == _PNG
    assert repr(figure) == "<figure curve, 0 kB>"
