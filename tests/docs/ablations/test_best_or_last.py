"""The comparison of best and last weights shows its record, whose best weights are the published ones."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import ModuleType

import pytest
from programs import load_program

from metaexp.results.record import read_record

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "ablations.md"
RECORD = ROOT / "benchmarks" / "records" / "best_or_last.json"


@pytest.fixture(scope="module")
def best_or_last() -> ModuleType:
    return load_program("benchmarks/published/best_or_last.py")


def test_the_page_is_that_of_the_record(best_or_last: ModuleType) -> None:
    text, record = PAGE.read_text(), json.loads(RECORD.read_text())
    assert best_or_last.on_page(text, record) == text, (
        "run python benchmarks/published/best_or_last.py --page docs/ablations.md"
    )
    next(iter(record["results"].values()))["difference"] += 0.01
    assert best_or_last.on_page(text, record) != text


def test_best_weights_are_those_of_the_published_copy_and_last_ones_are_not() -> None:
    results = json.loads(RECORD.read_text())["results"]
    assert results
    for name, row in results.items():
        record = read_record(ROOT / "docs" / "results" / name)
        assert record.test is not None
        assert (row["best"], row["episodes"], row["last_step"]) == (
            pytest.approx(record.test.mean, abs=1e-9), record.test.n_episodes, record.steps,
        )  # fmt: skip
        assert row["best_step"] < row["last_step"]
        assert abs(row["difference"]) < 0.005  # as the page says
        assert row["last"] != row["best"]
        assert row["difference"] == pytest.approx(row["last"] - row["best"], abs=1e-9)


def test_only_a_published_run_is_measured(best_or_last: ModuleType) -> None:
    record = read_record(ROOT / "docs" / "results" / "maml_sinusoid")
    assert best_or_last.published_copy(record).name == "maml_sinusoid"
    with pytest.raises(SystemExit, match="is not published"):
        best_or_last.published_copy(dataclasses.replace(record, started="never"))
