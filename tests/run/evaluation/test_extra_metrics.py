"""eval.metrics: further metrics of test episodes, beside numbers that stay what they are."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import metaexp as mx
from metaexp.cli.main import main
from metaexp.config.classes import targets
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.core.errors import ConfigError
from metaexp.core.json_lines import TIMINGS_FILE, read_lines
from metaexp.core.metric import extra_metric
from metaexp.results.display.wording import format_score
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.progress import Lines

SMALL = [
    "algorithm=proto_net", "model=mlp", "model.hidden=[8]", "dataset.train_classes=8", "dataset.val_classes=5",
    "dataset.test_classes=5", "dataset.per_class=6", "train.steps=3", "train.meta_batch_size=2", "train.eval_every=2",
    "train.eval_episodes=4", "eval.episodes=6", "device=cpu", "tracker=files", "device.threads=1",
]  # fmt: skip
WITH = "eval.metrics=[nll,ece,top_2]"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mx.Run:
    return mx.train(*SMALL, WITH, folder=tmp_path_factory.mktemp("runs") / "with")


def test_values_are_those_of_a_plain_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    scores, y = 2 * torch.randn(40, 5, generator=generator), torch.arange(40) % 5
    p = torch.softmax(scores.double(), -1).numpy()
    confidence, right = p.max(-1), p.argmax(-1) == y.numpy()
    ece = 0.0
    for low in range(10):
        inside = (confidence * 10).astype(int).clip(max=9) == low
        if inside.any():
            ece += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    order = np.argsort(-p, -1)
    assert float(extra_metric("nll", scores, y)) == pytest.approx(-np.log(p[np.arange(40), y.numpy()]).mean(), rel=1e-5)
    assert float(extra_metric("ece", scores, y)) == pytest.approx(ece, rel=1e-5)
    for k in (2, 3):
        expected = np.mean([label in row[:k] for label, row in zip(y.tolist(), order, strict=True)])
        assert float(extra_metric(f"top_{k}", scores, y)) == pytest.approx(expected)
    assert float(extra_metric("top_2", scores, y)) < float(extra_metric("top_3", scores, y))
    assert float(extra_metric("mae", torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]]))) == 1.5


def test_a_sure_and_right_learner_is_calibrated_and_a_sure_and_wrong_one_is_not() -> None:
    y = torch.arange(5)
    right = 100.0 * torch.eye(5)
    assert float(extra_metric("ece", right, y)) == pytest.approx(0.0, abs=1e-6)
    assert float(extra_metric("ece", right, (y + 1) % 5)) == pytest.approx(1.0, abs=1e-6)


def test_metrics_are_recorded_for_every_episode_and_leave_all_else_alone(run: mx.Run, tmp_path: Path) -> None:
    with (run.folder / "test_metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["episode", "nll", "ece", "top_2"]
    assert len(rows) == 6
    for score in run.record.metrics:
        assert score.mean == pytest.approx(np.mean([float(row[score.metric]) for row in rows]))
    assert all(float(row["top_2"]) >= hit for row, hit in zip(rows, run.test_episodes[-1], strict=True))
    assert run.metrics[-1]["test/nll"] == run.record.metrics[0].mean  # and checked against the record when read

    plain = mx.train(*SMALL, folder=tmp_path / "without")
    assert plain.record.config_hash == run.record.config_hash
    assert plain.record.test == run.record.test
    assert plain.test_episodes == run.test_episodes
    assert not (plain.folder / "test_metrics.csv").exists()
    assert plain.record.metrics == []
    kept = [{k: v for k, v in line.items() if k not in ("test/nll", "test/ece", "test/top_2")} for line in run.metrics]
    assert kept == plain.metrics


def test_the_page_explains_every_scalar_of_a_run(run: mx.Run) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    explained = {name for row in rows for name in re.findall(r"`([a-z]+/\w+)`", row.split(" | ")[0])}
    times = {name for _, values in read_lines(run.folder / TIMINGS_FILE) for name in values}
    written = {name for line in run.metrics for name in line} - {"step"} | times
    assert {re.sub(r"top_\d+", "top_K", re.sub(r"_after_\d+", "_after_K", name)) for name in written} <= explained
    assert {"train/loss", "val/accuracy", "test/nll", "time/seconds"} <= written
    assert "test/new_metric" not in explained


def test_a_finished_run_is_measured_again_with_further_metrics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], run: mx.Run
) -> None:
    plain = mx.train(*SMALL, folder=tmp_path / "run")
    capsys.readouterr()
    assert main(["evaluate", str(plain.folder), "eval.metrics=[nll]"]) == 0
    assert f"test negative log-likelihood {format_score(run.record.metrics[0])}" in capsys.readouterr().out


def test_regression_has_its_own(tmp_path: Path) -> None:
    asked = [
        "dataset=sinusoid",
        "model.hidden=[8]",
        *(line for line in SMALL if line.startswith(("train", "eval", "dev"))),
    ]
    found = mx.train(*asked, "tracker=files", "eval.metrics=[mae]", folder=tmp_path / "run")
    (score,) = found.record.metrics
    assert score.metric == "mae"
    assert found.record.test is not None
    assert 0 < score.mean <= math.sqrt(found.record.test.mean) * 1.5


WRONG = {
    "eval.metrics=[auc]": "auc is not a metric of classification; known: nll, ece, worst_class, per_class, top_2 (any",
    "eval.metrics=[mae]": "mae is not a metric of classification",
    "eval.metrics=[top_5]": "top_5 is not between top_2 and top_4",
    "eval.metrics=[top_1]": "top_1 is not between top_2 and top_4",
    "eval.metrics=[nll,nll]": "eval.metrics has nll twice",
    "eval.metrics=nll": "must be a list",
}


@pytest.mark.parametrize("override", WRONG)
def test_what_cannot_be_measured_is_refused(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Composer().settings([override], Purpose.PLAN)
    assert WRONG[override] in str(caught.value)
    with pytest.raises(ConfigError, match="nll is not a metric of regression; known: mae"):
        Composer().settings(["dataset=sinusoid", "eval.metrics=[nll]"], Purpose.PLAN)


WRONG_MEASURES = """
def all_scores(scores, y):
    return scores


def number(scores, y):
    return scores.mean().item()


def broken(scores, y):
    return scores.mean() / {}["n"]


def one_argument(scores):
    return scores.mean()


def ratio(scores, y):
    return scores.sum() / (0 * y.sum())


def writes(scores, y):
    y.zero_()
    return scores.zero_().mean()
"""


@pytest.fixture
def measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with the function that docs/metrics.md shows, and with functions that return something else."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n# my_code/measures.py\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    name = f"measures_of_{tmp_path.name}".replace("-", "_")
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    (tmp_path / name / "measures.py").write_text(f"{block}\n\n{WRONG_MEASURES}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(targets, "_trusted", {*targets._trusted, name})
    return f"{name}.measures"


def test_a_function_of_ones_own_is_a_metric_and_is_compared(measures: str, tmp_path: Path, run: mx.Run) -> None:
    mine = mx.train(*SMALL, f"eval.metrics=[nll,{measures}.margin]", folder=tmp_path / "runs" / "mine")
    assert mine.record.test == run.record.test
    assert mine.record.metrics[0] == run.record.metrics[0]
    score = mine.record.metrics[1]
    assert score.metric == f"{measures}.margin"
    assert math.isfinite(score.mean)
    assert mine.record.own_code is not None
    assert f"{measures.replace('.', '/')}.py" in mine.record.own_code.files
    assert run.record.own_code is None
    assert main(["compare", str(mine.folder), "--metric", score.metric, "--output", str(tmp_path / "page")]) == 0
    assert "margin" in (tmp_path / "page" / "README.md").read_text()


def test_a_further_metric_that_is_not_finite_is_left_out_with_a_warning(
    measures: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = f"eval.metrics=[nll,{measures}.ratio]"
    left_out = (
        rf"{measures}\.ratio of eval\.metrics is left out: it is not finite in (\d+) of \1 test episodes, such as"
    )
    mine = mx.train(*SMALL, names, folder=tmp_path / "runs" / "mine")
    assert [score.metric for score in mine.record.metrics] == ["nll"]
    assert re.search(f"warning: {left_out}", shown := capsys.readouterr().err)
    assert "nll of eval.metrics" not in shown
    assert main(["evaluate", str(mine.folder), names]) == 0
    assert re.search(f"warning: {left_out}", capsys.readouterr().err)


def test_a_function_that_writes_into_its_arguments_changes_no_other_metric(
    measures: str, tmp_path: Path, run: mx.Run
) -> None:
    mine = mx.train(*SMALL, f"eval.metrics=[{measures}.writes,nll]", folder=tmp_path / "run")
    assert mine.record.test == run.record.test
    assert mine.record.metrics[1] == run.record.metrics[0]
    assert mine.record.metrics[0].mean == 0.0


def test_a_function_that_is_not_there_or_not_trusted_is_refused(measures: str, tmp_path: Path) -> None:
    for name, why in (
        (f"{measures}.margn", r"has no function margn. Did you mean margin\?"),
        (f"{measures}s.margin", "there is no module"),
        ("os.getcwd", "is refused, and nothing of it was imported"),
    ):
        with pytest.raises(ConfigError, match=why):
            Composer().settings([f"eval.metrics=[{name}]"], Purpose.PLAN)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("all_scores", r"must return a tensor of shape \(\) for each task; it returned a tensor of shape \(\d+, 5\)"),
        ("number", r"failed on two made-up tasks \(RuntimeError: .*without \.item\(\)"),
        ("broken", r"failed on two made-up tasks \(KeyError: 'n'\)"),
        ("one_argument", r"one_argument\(scores\) cannot be called as one_argument\(scores, y\)"),
    ],
)
def test_a_function_that_is_wrong_is_refused_before_training(
    measures: str, tmp_path: Path, run: mx.Run, function: str, why: str, silent: Lines
) -> None:
    with pytest.raises(ConfigError, match=why):
        mx.train(*SMALL, f"eval.metrics=[{measures}.{function}]", folder=tmp_path / "run")
    assert (
        not (tmp_path / "run" / "metrics.jsonl").exists()
        or "train/" not in (tmp_path / "run" / "metrics.jsonl").read_text()
    )
    with pytest.raises(ConfigError, match=why):
        evaluate_run(run.folder, [f"eval.metrics=[{measures}.{function}]"], display=silent)


def test_the_worst_class_is_the_one_with_the_fewest_right_answers() -> None:
    scores = torch.eye(3)[[0, 0, 1, 2, 2, 2]]
    assert float(extra_metric("worst_class", scores, torch.tensor([0, 0, 1, 1, 2, 2]))) == 0.5
    assert float(extra_metric("worst_class", scores, torch.tensor([0, 0, 1, 2, 2, 2]))) == 1.0
