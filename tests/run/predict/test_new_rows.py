"""metaexp predict reads a CSV for a run on a table: by the names of its columns, in the units of its file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import metaexp as mx
from metaexp.cli.main import main
from metaexp.core.errors import DataError
from metaexp.data.regression.new_rows import read_new_rows

HEADER = ["person", "dose, mg", "age", "effect"]


def write(path: Path, header: list[str], rows: list[list[object]], encoding: str = "utf-8") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, lineterminator="\r\n").writerows([header, *rows])
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mx.Run:
    """A run on a table whose inputs are columns with names of their own, on different scales."""
    folder = tmp_path_factory.mktemp("doses")
    random = np.random.default_rng(0)
    rows: list[list[object]] = []
    for person in range(12):
        for _ in range(24):
            dose, age = random.normal(1000, 200), random.normal(40, 9)
            rows.append([f"p{person}", dose, age, dose / 100 + person - age])
    write(folder / "doses.csv", HEADER, rows)
    return mx.train(
        "algorithm=maml", "dataset=regression_table", f"dataset.file={folder / 'doses.csv'}", "dataset.task=person",
        'dataset.inputs=["dose, mg",age]', "dataset.targets=[effect]", "dataset.standardise=both", "train.steps=2",
        "train.meta_batch_size=2", "train.eval_every=2", "train.eval_episodes=4", "eval.episodes=6", "device=cpu",
        "device.threads=1", "tracker=files", folder=folder / "run",
    )  # fmt: skip


def predicted(run: mx.Run, support: Path, query: Path, out: Path) -> list[float]:
    out.unlink(missing_ok=True)
    words = ["predict", str(run.folder), "--support", str(support), "--query", str(query), "--output", str(out)]
    assert main(words) == 0
    with out.open(encoding="utf-8") as file:
        return [float(row["value_0"]) for row in csv.DictReader(file)]


def test_a_csv_predicts_what_arrays_do_whatever_the_order_of_its_columns(
    run: mx.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(1)
    x = np.stack([random.normal(1000, 200, 14), random.normal(40, 9, 14)], -1)
    y = x[:, 0] / 100 - x[:, 1]
    np.savez(tmp_path / "known.npz", x=x[:10], y=y[:10])
    np.savez(tmp_path / "asked.npz", x=x[10:])
    out = tmp_path / "out.csv"
    wanted = predicted(run, tmp_path / "known.npz", tmp_path / "asked.npz", out)
    known = [[age, "q", target, dose] for (dose, age), target in zip(x[:10], y[:10], strict=True)]
    support = write(tmp_path / "known.csv", ["age", "person", "effect", "dose, mg"], known, "utf-8-sig")
    query = write(tmp_path / "asked.csv", ["note", "age", "dose, mg"], [["!", age, dose] for dose, age in x[10:]])
    capsys.readouterr()
    assert predicted(run, support, query, out) == pytest.approx(wanted, rel=1e-5)
    assert "Not used" in capsys.readouterr().out
    swapped = write(tmp_path / "swapped.csv", ["age", "dose, mg"], [[dose, age] for dose, age in x[10:]])
    assert predicted(run, support, swapped, out) != pytest.approx(wanted, rel=1e-5)
    assert predicted(run, support, support, out)[0] == pytest.approx(
        predicted(run, support, write(tmp_path / "first.csv", ["dose, mg", "age"], [[*x[0]]]), out)[0], rel=1e-5
    )


@pytest.mark.parametrize(
    ("header", "rows", "needs_y", "said"),
    [
        (["task", "x", "y"], [["a", 1, 2], ["b", 2, 3]], True, "several tasks in the column task (a, b)"),
        (["x", "y"], [], True, "has no examples"),
        (["x"], [[1]], True, "has no column y"),
        (["task", "y"], [["a", 1]], False, "has no column x"),
        (["x", "y"], [["", 1]], False, "line 2: x is ''"),
        (["x", "y"], [[1, "NA"]], True, "line 2: y is 'NA'"),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused_with_the_place(
    header: list[str], rows: list[list[object]], needs_y: bool, said: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "new.csv", header, rows)
    with pytest.raises(DataError) as refused:
        read_new_rows(path, None, None, None, needs_y=needs_y)
    assert said in str(refused.value)


def test_targets_of_queries_may_be_missing_and_are_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "new.csv", ["task", "x", "y0", "y1"], [["a", 1, "", "NA"], ["a", 2, "", ""]])
    found = read_new_rows(path, None, None, None, needs_y=False)
    assert found.x.tolist() == [[1], [2]]
    assert found.y is None
    assert not found.notes


def test_a_run_on_other_data_says_what_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = mx.train("dataset=sinusoid", "train.steps=0", "eval.test=false", "tracker=files", folder=tmp_path / "run")
    path = write(tmp_path / "new.csv", ["x", "y"], [[1, 2]])
    assert main(["predict", str(done.folder), "--support", str(path), "--query", str(path)]) == 2
    assert "Give an .npz file with x of shape (B, 1)" in capsys.readouterr().err
