"""``metaexp compare --metric``: rows and verdicts of a further metric of the test episodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metaexp.cli.main import main
from metaexp.compare.comparison import compare
from metaexp.compare.gather import gather
from metaexp.compare.output.write import render, write
from metaexp.config.identity import numeric_part
from metaexp.core.intervals import mean_interval
from metaexp.core.metric import format_metric_name, is_hit_rate, larger_is_better
from metaexp.results.episodes import write_metrics
from metaexp.results.record import Score

N = 80


@pytest.fixture
def measured(make_run: Callable[..., Path]) -> Callable[..., Path]:
    """A factory of runs with two further metrics."""

    def make(algorithm: str, seed: int, nll: float, top: float) -> Path:
        generator = np.random.default_rng([seed, 7])
        values = {
            "nll": (nll + 0.01 * generator.standard_normal(N)).tolist(),
            "top_2": (top + 0.01 * generator.standard_normal(N)).tolist(),
        }
        metrics = [Score(name, *mean_interval(row), N) for name, row in values.items()]
        folder = make_run(algorithm, seed, n=N, metrics=metrics)
        write_metrics(folder / "test_metrics.csv", values)
        return folder

    return make


def test_rows_are_ranked_by_the_metric_in_its_own_direction(measured: Callable[..., Path], tmp_path: Path) -> None:
    for seed in range(3):
        measured("maml", seed, nll=0.5, top=0.8)
        measured("proto_net", seed, nll=0.4, top=0.7)
    first = {}
    for metric in ("nll", "top_2"):
        runs = gather([tmp_path / "sweep"], metric).runs
        comparison = compare(runs, [], [], numeric_part, "t", "c")
        (table,) = comparison.tables
        first[metric] = table.rows[0].label
        assert table.metric == metric
        assert [row.rank for row in table.rows] == [1, 2]
    assert first == {"nll": "proto_net", "top_2": "maml"}


def test_the_page_names_the_metric(measured: Callable[..., Path], tmp_path: Path) -> None:
    for seed in range(2):
        measured("maml", seed, nll=0.5, top=0.8)
        measured("proto_net", seed, nll=0.4, top=0.7)
    out = tmp_path / "out"
    runs = gather([tmp_path / "sweep"], "top_2").runs
    write(render(compare(runs, [], [], numeric_part, "t", "c")), out)
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "Top-2 accuracy" in page
    assert "80." in page
    assert {"index.html", "rows.csv", "pairs.csv", "table.tex", "scores.png"} <= {path.name for path in out.iterdir()}


@pytest.mark.parametrize(("mean", "spread"), [(-2.0, 0.01), (0.1, 3.0), (2.0, 0.01)])
def test_the_interval_of_your_own_metric_is_around_its_mean_also_below_zero(
    mean: float, spread: float, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    name = "my_code.measures.margin"
    for seed in range(3):
        values = (mean + spread * np.random.default_rng(seed).standard_normal(N)).tolist()
        folder = make_run("maml", seed, n=N, metrics=[Score(name, *mean_interval(values), N)])
        write_metrics(folder / "test_metrics.csv", {name: values})
    (table,) = compare(gather([tmp_path / "sweep"], name).runs, [], [], numeric_part, "t", "c").tables
    found = table.rows[0].estimate
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.mean < found.high
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_a_run_without_the_metric_is_left_out_and_says_how_to_get_it(
    measured: Callable[..., Path], make_run: Callable[..., Path], tmp_path: Path
) -> None:
    measured("maml", 0, nll=0.5, top=0.8)
    make_run("proto_net", 0, n=N, folder="without")
    found = gather([tmp_path / "sweep"], "nll")
    assert [run.record.algorithm for run in found.runs] == ["maml"]
    assert [item.reason for item in found.left_out] == ["was tested without nll. Train with 'eval.metrics=[nll]'."]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "test_metrics.csv is missing"),
        ("episode,nll\n0,0.5\n", "the mean of nll in test_metrics.csv is not that of record.json"),
        ("episode,other\n0,0.5\n", "test_metrics.csv is damaged"),
        ("episode,nll\n" + "\n".join(f"{i},nan" for i in range(N)), "the mean of nll"),
        ("episode,nll\n0,half\n", "test_metrics.csv is damaged"),
    ],
)
def test_a_file_that_is_not_that_of_the_record_is_left_out(
    text: str | None, reason: str, measured: Callable[..., Path], tmp_path: Path
) -> None:
    folder = measured("maml", 0, nll=0.5, top=0.8)
    path = folder / "test_metrics.csv"
    path.unlink()
    if text is not None:
        path.write_text(text)
    (left_out,) = gather([tmp_path / "sweep"], "nll").left_out
    assert reason in left_out.reason


def test_a_new_test_of_another_metric_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", ".", "--metric", "nll", "--retest"]) == 2
    assert "--retest measures the accuracy or the squared error" in capsys.readouterr().err


def test_metrics_have_a_direction_and_a_name() -> None:
    names = ("accuracy", "top_3", "mse", "nll", "ece", "mae")
    assert [larger_is_better(name) for name in names] == [True, True, False, False, False, False]
    assert [is_hit_rate(name) for name in names] == [True, True, False, False, False, False]
    assert [format_metric_name(name) for name in names[:3]] == ["accuracy", "top-3 accuracy", "mean squared error"]
