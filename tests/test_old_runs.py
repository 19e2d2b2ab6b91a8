"""Runs and records made before the rooms were rearranged stay valid: they evaluate, resume, compare and reproduce.

``tests/old_runs`` holds two runs of one configuration, made by commit 7e5a87a: one completed, one stopped after 5 of 8
steps.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from same_machine import is_same_machine

from metaexp.cli.main import main
from metaexp.config.identity import config_hash, has_hash
from metaexp.results.record import RunRecord, read_record
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.job import resume_job

ROOT = Path(__file__).resolve().parents[1]
OLD = ROOT / "tests" / "old_runs"
COMMITTED = sorted((ROOT / "docs" / "results").rglob("record.json"))
EARLIER_RULE = "75839103477c3d25c0b89aceee5487521a3f72dcfe0bab4467de944069708d21"
"""Today's hash of the record in ``earlier_rule``, made when arguments at their default were still hashed; its own is of
that rule."""


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the old runs, which the tests may write to, as the current folder."""
    shutil.copytree(OLD, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def validation(run: Path) -> list[tuple[str, float]]:
    """The validation metrics that a run has written."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(key, value) for line in lines for key, value in line.items() if key.startswith("val/")]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_the_hash_of_every_committed_record_is_still_that_of_its_configuration(path: Path) -> None:
    record = read_record(path.parent)
    assert config_hash(record.config) == record.config_hash
    before = config_hash(record.config)
    record.config["algorithm"]["_target_"] += "Other"
    assert config_hash(record.config) != before


def test_a_record_with_a_hash_of_the_earlier_rule_is_still_known_by_it() -> None:
    record = read_record(OLD / "earlier_rule")
    assert config_hash(record.config) == EARLIER_RULE != record.config_hash
    assert has_hash(record.config, record.config_hash)
    record.config["algorithm"]["inner_lr"] = 0.02
    assert not has_hash(record.config, record.config_hash)


def test_there_are_committed_records() -> None:
    assert len(COMMITTED) >= 9


@pytest.mark.parametrize("name", ["completed", "interrupted"])
def test_the_hash_of_an_old_run_is_still_that_of_its_configuration(name: str) -> None:
    record = read_record(OLD / name)
    assert config_hash(record.config) == record.config_hash


def test_an_old_run_evaluates_to_its_recorded_number(old: Path) -> None:
    recorded = read_record(old / "completed").test
    assert recorded is not None
    again = evaluate_run(old / "completed").evaluation.test
    assert again.mean == pytest.approx(recorded.mean, rel=1e-5)
    assert again.ci95 == pytest.approx(recorded.ci95, rel=1e-5)
    assert again.n_episodes == recorded.n_episodes
    other = evaluate_run(old / "completed", ["eval.seed=5"]).evaluation.test
    assert other.mean != pytest.approx(recorded.mean, rel=1e-3)


def test_an_old_interrupted_run_resumes_to_what_its_completed_twin_is(old: Path) -> None:
    record: RunRecord = resume_job(old / "interrupted").record
    twin = read_record(old / "completed")
    assert record.status == "completed"
    assert (record.steps, record.selected_step) == (twin.steps, twin.selected_step)
    assert (record.config_hash, record.data_hash, record.episode_bank) == (
        twin.config_hash,
        twin.data_hash,
        twin.episode_bank,
    )
    assert record.test is not None
    assert twin.test is not None
    assert record.test.mean == pytest.approx(twin.test.mean, rel=1e-5)
    resumed, expected = validation(old / "interrupted"), validation(old / "completed")
    assert [key for key, _ in resumed] == [key for key, _ in expected]
    assert [value for _, value in resumed] == pytest.approx([value for _, value in expected], rel=1e-5)


def test_an_old_run_stands_in_a_comparison(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(old / "completed"), "--output", str(old.parent / "tables")]) == 0
    assert "MAML" in capsys.readouterr().out


def test_why_compares_old_runs(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads((old / "interrupted" / "record.json").read_text())
    record["config"]["algorithm"]["inner_lr"] = 0.02
    record["config_hash"] = config_hash(record["config"])
    (old / "interrupted" / "record.json").write_text(json.dumps(record))
    (old / "interrupted" / "config.yaml").unlink()
    assert main(["why", str(old / "completed"), str(old / "interrupted")]) == 0
    said = capsys.readouterr().out
    assert "algorithm.inner_lr" in said
    assert "algorithm.first_order" not in said


def test_an_old_run_can_be_reproduced(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = is_same_machine(read_record(old / "completed"))
    main(["reproduce", str(old / "completed"), "device=cpu"])  # its code says whether the machine computes the same
    said = capsys.readouterr().out
    assert "11 lines of metrics.jsonl" in said or not same
    assert "possible cause" in said or "identical" in said.splitlines()
