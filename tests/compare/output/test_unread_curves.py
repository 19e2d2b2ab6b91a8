"""A learning curve that cannot be read is left out, and every output says so; the run itself is compared."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from metaexp.compare.comparison import ComparedRuns, compare
from metaexp.compare.gather import gather
from metaexp.compare.output.documents import print_comparison
from metaexp.compare.output.figure_data import FigureData
from metaexp.compare.output.figures import figures
from metaexp.compare.output.write import render
from metaexp.core import json_lines
from tests.compare.conftest import MakeRun, decide

Damage = Callable[[Path], None]


def _edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"0.6", b"zero", 1) + b"{}\n")


def _grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 3)


def _cut(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))


def _tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere.jsonl"))
    path.symlink_to("elsewhere.jsonl")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _compared(folder: Path) -> ComparedRuns:
    found = gather([folder])
    return compare(found.runs, found.left_out, ["algorithm"], decide, "title", "metaexp compare x")


def _learning(comparison: ComparedRuns) -> FigureData:
    (figure,) = [item for item in figures(comparison) if item.name == "learning"]
    return figure


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("damage", [_edit, _grow, _cut, _tear, _link, _pipe])
def test_a_curve_that_cannot_be_read_is_named_on_the_page_and_in_the_terminal(
    damage: Damage, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(2):
        make_run("maml", seed)
        run = make_run("proto_net", seed)
    monkeypatch.setattr(json_lines, "MOST_METRICS", 2 * (run / "metrics.jsonl").stat().st_size)
    whole = _compared(tmp_path / "sweep")
    damage(run / "metrics.jsonl")
    comparison = _compared(tmp_path / "sweep")
    (item,) = comparison.left_out
    assert item.name == run.name
    assert item.reason.startswith("only its learning curve, which cannot be read: metrics.jsonl")
    assert str(tmp_path) not in item.reason
    output = io.StringIO()
    print_comparison(comparison, Console(file=output, width=200))
    assert f"left out: {run.name}: only its learning curve" in output.getvalue()
    files, files_of_whole = render(comparison), render(whole)
    for name in ("index.html", "README.md"):
        assert b"only its learning curve" in files[name]
        assert b"only its learning curve" not in files_of_whole[name]
    assert "Without one run, whose curve cannot be read." in _learning(comparison).note
    assert "Without" not in _learning(whole).note
    assert [row.estimate for row in comparison.tables[0].rows] == [row.estimate for row in whole.tables[0].rows]


def test_a_run_without_a_file_of_metrics_is_compared_and_nothing_is_said_of_damage(
    make_run: MakeRun, tmp_path: Path
) -> None:
    for seed in range(2):
        make_run("maml", seed)
        run = make_run("proto_net", seed)
    (run / "metrics.jsonl").unlink()
    assert not _compared(tmp_path / "sweep").left_out
