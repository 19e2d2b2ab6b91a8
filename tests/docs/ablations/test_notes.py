"""Every row that does not come out has a note, and what the notes say is what the records give."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import ModuleType

import pytest
from programs import load_program

from metaexp.cli.report import documentation
from metaexp.report.pages import shown_entries
from metaexp.report.rows import Entry, grouped
from metaexp.report.undecided import score_over_episodes, with_any_seeds, with_undecided_rows
from metaexp.results.record import Reference, Score, read_record
from metaexp.results.verdict import half_width_of_any_seeds, margin

pytestmark = pytest.mark.usefixtures("remembers")
ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "ablations.md"
RESULTS = ROOT / "docs" / "results"
PROTO_NET = "proto_net_omniglot_5way_1shot"


@pytest.fixture(scope="module")
def proto_net() -> ModuleType:
    return load_program("benchmarks/published/others_proto_net.py")


@pytest.fixture
def rows(remembers: None) -> list[Entry]:
    return grouped(shown_entries(documentation(ROOT)))


def test_the_table_of_prototypical_networks_is_that_of_the_records(proto_net: ModuleType, rows: list[Entry]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    program = "python benchmarks/published/others_proto_net.py --page docs/ablations.md"
    assert proto_net.on_page(text, rows) == text, f"run {program}"
    assert proto_net.on_page(text, [row._replace(seeds=()) for row in rows]) != text


def test_every_row_that_does_not_come_out_has_a_note(rows: list[Entry]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert with_undecided_rows(text, rows, "results") == text, "run metaexp report"
    undecided = [row for row in rows if row.record.verdict and row.record.verdict.kind == "undecided"]
    for row in undecided:
        assert with_undecided_rows(text, [other for other in rows if other != row], "results") != text
    about = text.partition("## Rows that do not come out")[2]
    kinds = {"not_reproduced", "shortened", "undecided"}
    failed = [row for row in rows if row.record.verdict and row.record.verdict.kind in kinds]
    assert {row.record.verdict.kind for row in failed if row.record.verdict} == kinds
    assert [row.page for row in failed if f"](results/{row.page})" not in about] == []


def test_what_the_page_says_of_undecided_rows_is_true(rows: list[Entry]) -> None:
    frequencies = [row for row in rows if "meta_sgd_sinusoid" in row.name]
    assert len(frequencies) == 6
    for row in frequencies:
        reference, verdict = row.record.reference, row.record.verdict
        assert reference is not None
        assert reference.ci95 is not None
        assert verdict is not None
        assert alone(reference) > margin(reference)
        assert -reference.ci95 < verdict.difference < 0
    (perceptron,) = [row.record.reference for row in rows if row.name == "maml_omniglot_mlp_5way_1shot"]
    assert perceptron is not None
    assert 0 < margin(perceptron) - alone(perceptron) < 0.001
    tuned = {
        row.test: with_any_seeds(score_over_episodes(row), row.record.reference)
        for row in rows
        if row.name == "fine_tune_sinusoid" and row.record.reference is not None
    }
    assert tuned == {
        (): "equal", ("algorithm.tune_steps=5",): "neither", ("algorithm.tune_steps=10",): "neither",
    }  # fmt: skip
    (maml,) = [row for row in rows if row.name == "maml_omniglot_5way_1shot"]
    reference = maml.record.reference
    assert reference is not None
    assert reference.ci95 is not None
    assert half_width_of_any_seeds(score_over_episodes(maml), reference) > reference.ci95


def alone(reference: Reference) -> float:
    """Half the 90 % interval of a published number."""
    return half_width_of_any_seeds(Score(reference.metric, reference.value, 1e-12, 10), reference)


def test_what_any_number_of_seeds_could_show() -> None:
    published = Reference("A", "T", "mse", 1.0, None, "")
    for reference in (published, dataclasses.replace(published, steps=60_000)):
        shown = [with_any_seeds(Score("mse", mean, 0.05, 100), reference) for mean in (1.02, 1.08, 1.3)]
        assert shown == ["equal", "neither", "different"]
    wide = dataclasses.replace(published, ci95=0.2)
    assert with_any_seeds(Score("mse", 1.0, 0.05, 100), wide) == "neither"
    assert half_width_of_any_seeds(Score("mse", 1.0, 0.05, 100), wide) > margin(wide)


def test_what_the_page_says_of_prototypical_networks_is_true(proto_net: ModuleType, rows: list[Entry]) -> None:
    for (n_way, k_shot), others in proto_net.AUTHORS_CODE.items():
        task = [row for row in rows if row.name.startswith(PROTO_NET) and _task(row) == (n_way, k_shot)]
        alone, both = (row.record for row in sorted(task, key=lambda row: row.name))
        assert alone.reference is not None
        assert alone.test is not None
        assert both.test is not None
        assert max(alone.test.mean, both.test.mean, others) < alone.reference.value
        assert both.test.mean == pytest.approx(others, abs=0.002)
    seeds = [read_record(path).test for path in RESULTS.glob(f"{PROTO_NET}_trainval*/record.json")]
    means = [test.mean for test in seeds if test is not None]
    assert len(means) == 3
    assert max(means) - min(means) < 0.002


def test_what_the_page_says_of_prototypical_networks_with_5_shots_is_true() -> None:
    runs = sorted(RESULTS.glob("proto_net_omniglot_5way_5shot*"))
    assert len(runs) == 3
    for run in runs:
        record = read_record(run)
        assert record.test is not None
        assert record.reference is not None
        assert 0 < record.reference.value - record.test.mean < 0.01
        assert (record.steps, record.full_steps) == (12_000, 20_000)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        late = [line for line in lines if "val/accuracy" in line and line["step"] >= 4000]
        last = late[-1]
        assert all(abs(line["val/accuracy"] - last["val/accuracy"]) < last["val/ci95"] for line in late)


def test_what_the_page_says_of_the_training_of_prototypical_networks_is_true() -> None:
    record = read_record(RESULTS / PROTO_NET)
    assert record.reference is not None
    assert record.test is not None
    assert record.val is not None
    lines = (RESULTS / PROTO_NET / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    validated = {line["step"]: line["val/accuracy"] for line in map(json.loads, lines) if "val/accuracy" in line}
    assert record.steps == max(validated) == 20_000
    late = [accuracy for step, accuracy in validated.items() if step >= 5_000]
    assert max(late) - min(late) < record.val.ci95 < max(late) - validated[500]
    assert (record.config["schedule"]["every"], record.config["schedule"]["gamma"]) == (2_000, 0.5)
    assert record.test.mean < record.reference.value < record.val.mean
    rules = json.loads((ROOT / "benchmarks" / "records" / "ablations.json").read_text())["results"][PROTO_NET]
    higher = [row for row in rules["changes"] if row["difference"] > 0]
    assert [row["overrides"] for row in higher] == [["algorithm.batch_norm=transductive"]]
    assert higher[0]["difference"] < (record.reference.value - rules["mean"]) / 2


def _task(row: Entry) -> tuple[int, int]:
    return row.record.task.n_way, row.record.task.k_shot
