"""``metaexp show`` and ``ls`` of runs that have lost their record or their metrics."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from metaexp.cli.main import main

OLD = Path(__file__).resolve().parents[2] / "old_runs" / "completed"
WHAT = "maml on sinusoid, 10-shot, seed 7"


def shown(capsys: pytest.CaptureFixture[str], verb: str, path: Path) -> str:
    assert main([verb, str(path)]) == 0
    return capsys.readouterr().out


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "run"))


def test_a_run_without_a_record_is_what_its_configuration_says(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert WHAT in shown(capsys, "show", run)
    (run / "record.json").unlink()
    out = shown(capsys, "show", run)
    assert out.splitlines()[:2] == [f"{run}: stopped", WHAT]
    assert "settings that differ from the defaults:" in out
    assert WHAT in shown(capsys, "ls", run.parent)
    (run / "config.yaml").write_text("- 1\n")
    assert WHAT not in shown(capsys, "show", run)


@pytest.mark.parametrize("status", ["completed", "interrupted"])
def test_metrics_that_lost_lines_are_noticed(run: Path, status: str, capsys: pytest.CaptureFixture[str]) -> None:
    record, metrics = run / "record.json", run / "metrics.jsonl"
    record.write_text(record.read_text().replace('"status": "completed"', f'"status": "{status}"'))
    assert f"measurements: {metrics}" not in shown(capsys, "show", run)
    assert "next:" in shown(capsys, "show", run)
    metrics.write_bytes(b"")
    out = shown(capsys, "show", run)
    assert f"measurements: {metrics}" in out
    assert ("resume=" in out) is False
    assert ("next:" in out) is (status == "completed")


def test_metrics_cut_off_before_the_test_are_noticed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = run / "metrics.jsonl"
    metrics.write_bytes(b"".join(metrics.read_bytes().splitlines(keepends=True)[:-1]))
    assert f"measurements: {metrics}" in shown(capsys, "show", run)
