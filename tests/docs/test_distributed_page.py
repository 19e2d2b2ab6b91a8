"""The page on several processes shows what the record of its benchmark says, and the benchmark runs."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
from programs import load_program
from sampling import only_exhaustive

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "distributed.md"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return load_program("benchmarks/torchrun.py")


def test_the_page_is_that_of_the_record(benchmark: ModuleType, tmp_path: Path) -> None:
    text = PAGE.read_text()
    assert benchmark.on_page(text) == text, "run python benchmarks/torchrun.py --page docs/distributed.md"
    ways = {"2 ranks, 1 thread each": {"episodes_per_second": 123.4, "ratio": 1.8, "low": 1.7, "high": 1.9}}
    found = {"rounds": 3, "steps": 5, "cores": 2, "load": 0.1, "note": "alone", "results": {"`maml`": ways}}
    record = tmp_path / "torchrun.json"
    record.write_text(json.dumps(found))
    page = benchmark.on_page(text, record)
    assert "| `maml` | 2 ranks, 1 thread each | 123 | 1.80 (1.70 to 1.90) |" in page
    assert "Measured on 2 cores, 3 rounds of 5 steps; load 0.1 before; alone." in page
    assert benchmark.NOT_MEASURED in benchmark.on_page(page, tmp_path / "none.json")


@only_exhaustive
@pytest.mark.slow
def test_one_process_and_two_ranks_are_measured_in_turn(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_ranks = "2 ranks, 1 thread each"
    monkeypatch.setattr(benchmark, "WAYS", {way: benchmark.WAYS[way] for way in (benchmark.BASELINE, two_ranks)})
    small = [
        "algorithm=proto_net",
        "model=mlp",
        "model.hidden=[8]",
        "dataset.train_classes=70",
        "dataset.val_classes=20",
    ]
    monkeypatch.setattr(benchmark, "RUNS", {"`tiny`": [*small, "dataset.test_classes=20"]})
    assert benchmark.main(["--rounds", "1", "--steps", "2", "--output", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found["results"]["`tiny`"]) == set(benchmark.WAYS)
    assert found["results"]["`tiny`"][benchmark.BASELINE]["ratio"] == 1.0
    assert all(row["episodes_per_second"] > 0 for row in found["results"]["`tiny`"].values())
