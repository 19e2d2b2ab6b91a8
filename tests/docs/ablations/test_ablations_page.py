"""The page of ablations shows its record, and committed weights give what the record says."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from types import ModuleType

import pytest
import torch
from programs import load_program
from torch import Tensor

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "ablations.md"
RECORD = ROOT / "benchmarks" / "records" / "ablations.json"
RUN = "maml_sinusoid"


@pytest.fixture(scope="module")
def ablations() -> ModuleType:
    return load_program("benchmarks/published/ablations.py")


def test_the_page_is_that_of_the_record(ablations: ModuleType) -> None:
    text, record = PAGE.read_text(), json.loads(RECORD.read_text())
    assert ablations.on_page(text, record) == text, (
        "run python benchmarks/published/ablations.py --page docs/ablations.md"
    )
    record["results"][RUN]["changes"][0]["difference"] += 0.01
    assert ablations.on_page(text, record) != text


def test_every_change_is_measured_once(ablations: ModuleType) -> None:
    results = json.loads(RECORD.read_text())["results"]
    measured = {run: [tuple(row["overrides"]) for row in found["changes"]] for run, found in results.items()}
    assert measured == {run: [change.overrides for change in changes] for run, changes in ablations.CHANGES.items()}


def test_the_weights_give_the_errors_of_the_record(ablations: ModuleType) -> None:
    record = json.loads(RECORD.read_text())
    row = next(row for row in record["results"][RUN]["changes"] if row["overrides"] == ["task.k_shot=10"])
    values = ablations.measure(RUN, row["overrides"], record["results"][RUN]["episodes"]).values
    assert statistics.fmean(values) == pytest.approx(row["mean"], abs=2e-3)  # another processor rounds otherwise
    assert row["mean"] != pytest.approx(record["results"][RUN]["mean"], abs=2e-3)


def test_a_query_by_itself_does_not_see_the_others(ablations: ModuleType) -> None:
    class Centred:
        def predict(self, adapted: None, x: Tensor) -> Tensor:
            return x - x.mean(0)

    x = torch.randn(4, 2)
    before = Centred.predict
    together = Centred().predict(None, x)
    with ablations.one_query_at_a_time(Centred):
        assert torch.equal(Centred().predict(None, x), torch.zeros(4, 2))
    assert Centred.predict is before
    assert torch.equal(Centred().predict(None, x), together)
    assert not torch.equal(together, torch.zeros(4, 2))


def test_weights_that_normalise_queries_together_fail_on_one_at_a_time() -> None:
    results = json.loads(RECORD.read_text())["results"]
    alone = {run: row for run, found in results.items() for row in found["changes"] if not row["overrides"]}
    assert set(alone) == {name for name, found in results.items() if found["batch_norm"] == "transductive"}
    assert alone["maml_omniglot_5way_1shot_two_cores"]["mean"] < 0.25  # one in five is chance
    assert alone["anil_omniglot_20way_1shot"]["mean"] < 0.06  # one in twenty
