"""What the page says of sinusoids after more steps is what committed weights and records give."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from statistics import mean
from types import ModuleType
from typing import Any

import pytest
from programs import load_program

from metaexp.core.errors import NotFiniteError
from metaexp.results.episodes import EPISODES_FILE, read_episodes
from metaexp.results.evaluations import published_tests
from metaexp.results.record import read_record
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.progress import Lines

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "ablations.md"
RECORD = ROOT / "benchmarks" / "records" / "sinusoid_steps.json"
RESULTS = ROOT / "docs" / "results"


@pytest.fixture(scope="module")
def steps() -> ModuleType:
    return load_program("benchmarks/published/sinusoid_steps.py")


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Row -> run -> steps -> summary."""
    results: dict[str, dict[str, dict[str, dict[str, Any]]]] = json.loads(RECORD.read_text())["results"]
    return results


def test_the_page_is_that_of_the_record(steps: ModuleType) -> None:
    text, record = PAGE.read_text(), json.loads(RECORD.read_text())
    assert steps.on_page(text, record) == text, (
        "run python benchmarks/published/sinusoid_steps.py --page docs/ablations.md"
    )
    record["results"]["maml_sinusoid"]["maml_sinusoid"]["1"]["mean"] = 0.1
    assert steps.on_page(text, record) != text


def test_all_seeds_of_both_rows_are_measured(steps: ModuleType, found: dict[str, dict[str, Any]]) -> None:
    assert {row: sorted(runs) for row, runs in found.items()} == {row: steps.runs_of(row) for row in steps.PUBLISHED}
    assert [len(runs) for runs in found.values()] == [8, 8]


def test_the_means_are_those_of_records_and_published_later_tests(found: dict[str, dict[str, Any]]) -> None:
    compared = 0
    for run, after in [pair for runs in found.values() for pair in runs.items()]:
        record = read_record(RESULTS / run)
        assert record.test is not None
        assert after["1"]["mean"] == pytest.approx(record.test.mean, rel=1e-4)
        for test in published_tests(RESULTS / run, record):
            n_steps = str(len(test.after_steps) - 1)
            assert after[n_steps]["mean"] == pytest.approx(test.test.mean, rel=1e-3)
            compared += 1
    assert compared == 8 + 2 * 8


def test_the_weights_give_the_errors(steps: ModuleType) -> None:
    measured = steps.errors("maml_sinusoid", 100)
    recorded = read_episodes(RESULTS / "maml_sinusoid" / EPISODES_FILE)
    assert measured[1] == pytest.approx(recorded[1][:100], rel=1e-3, abs=1e-4)
    assert measured[5] != pytest.approx(recorded[1][:100], rel=1e-3, abs=1e-4)
    assert len(measured) == 11


def test_a_test_whose_mean_is_not_finite_is_refused(
    found: dict[str, dict[str, Any]], tmp_path: Path, silent: Lines
) -> None:
    runs = found["maml_sinusoid"]
    diverged = [run for run, after in runs.items() if after["10"]["mean_of_first"] is None]
    assert 0 < len(diverged) < len(runs)
    folder = Path(shutil.copytree(RESULTS / diverged[0], tmp_path / "run"))
    with pytest.raises(NotFiniteError):
        evaluate_run(folder, ["algorithm.inner_steps_test=10", "eval.episodes=600", "device=cpu"], display=silent)


def test_what_the_page_says_of_maml_is_true(steps: ModuleType, found: dict[str, dict[str, Any]]) -> None:
    published = dict(zip(steps.STEPS, steps.PUBLISHED["maml_sinusoid"], strict=True))
    for after in found["maml_sinusoid"].values():
        assert after["1"]["median"] > after["5"]["median"] > after["10"]["median"]
        assert after["10"]["mean"] is None
        assert all(after[str(n)]["mean_without_far"] > published[n] for n in (5, 10))
        assert after["1"]["far"] == 0 < min(after["5"]["far"], after["10"]["far"])
    near = [after["10"]["mean_of_first"] for after in found["maml_sinusoid"].values()]
    assert any(value is not None and value < 0.5 for value in near)


def test_what_the_page_says_of_the_pre_trained_network_is_true(found: dict[str, dict[str, Any]]) -> None:
    seeds = found["fine_tune_sinusoid"].values()
    one, five, ten = ([after[n]["mean"] for after in seeds] for n in ("1", "5", "10"))
    assert mean(one) > mean(five) > mean(ten)
    worst = sorted(one)[-2:]
    assert [first for first, fifth, tenth in zip(one, five, ten, strict=True) if not first > fifth > tenth] == worst
    assert all(first > tenth > fifth for first, fifth, tenth in zip(one, five, ten, strict=True) if first in worst)
    assert {after[n]["far"] for after in seeds for n in after} == {0}


def test_what_the_page_says_of_long_pre_training_is_true() -> None:
    lowest, rises, at_five = [], [], []
    for path in sorted((ROOT / "docs" / "results").glob("fine_tune_sinusoid*/metrics.jsonl")):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        errors = {line["step"]: line["val/mse"] for line in lines if "val/mse" in line}
        assert max(errors) == 70_000
        lowest.append(min(errors, key=errors.__getitem__))
        rises.append(errors[70_000] / min(errors.values()) - 1)
        if not path.parent.name.startswith(("fine_tune_sinusoid_10shot", "fine_tune_sinusoid_20shot")):
            at_five.append(min(errors.values()))
    assert (len(lowest), min(lowest), max(lowest)) == (14, 4000, 18_000)
    assert (round(100 * min(rises)), round(100 * max(rises))) == (5, 14)
    assert (len(at_five), f"{min(at_five):.2f}", f"{max(at_five):.2f}") == (8, "2.26", "2.46")


def test_tasks_that_are_not_finite_are_counted_and_the_median_is_right(steps: ModuleType) -> None:
    of_all = steps.summary([math.nan, 0.1, 0.3, 0.2, math.inf, 200.0, 0.4])
    assert (of_all["mean"], of_all["far"], of_all["median"]) == (None, 3, 0.4)
    assert of_all["mean_without_far"] == pytest.approx(0.25)
    assert steps.summary([0.1, 0.3])["mean"] == pytest.approx(0.2)
