"""Disturbed at random, runs on several ranks neither hang nor lose anything. Fifty rounds: docs/reliability.md."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest
from sampling import EXHAUSTIVE

pytestmark = pytest.mark.timeout(600)

ELSEWHERE = ("error", "memory", "outside", "drift", "other", "stop one", "interrupt one")
"""What tests/run/test_shared_run.py does to a run at a step that it chooses; in CI these come at random too."""


@pytest.fixture
def rank_rounds() -> ModuleType:
    return importlib.import_module("rank_rounds")


@pytest.mark.slow
def test_disturbed_runs_end_and_go_on_bit_for_bit(rank_rounds: ModuleType, tmp_path: Path) -> None:
    kinds = [kind for kind in rank_rounds.DISTURBANCES if EXHAUSTIVE or kind not in ELSEWHERE]
    found = rank_rounds.run_rounds(tmp_path / "rounds", len(kinds), 1, kinds)
    assert found["hung"] == []
    assert found["wrong"] == []
    assert found["tried"] == dict.fromkeys(kinds, 1)
    assert {"none", "kill", "SIGTERM", "SIGHUP", "SIGKILL"} <= set(kinds)


def test_a_hang_and_other_bytes_would_be_noticed(rank_rounds: ModuleType, tmp_path: Path) -> None:
    jobs = {"undisturbed1": {"ranks": 1}, "round0": {"ranks": 1, "what": "kill"}, "resumed0": {"ranks": 1}}
    for name, text in (("undisturbed1", "a"), ("round0", "b")):
        for kept in (*rank_rounds.KEPT, "config.yaml"):
            (tmp_path / name / kept).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / kept).write_text(text)
    report = {name: {"codes": [0], "seconds": 1.0, "folder": str(tmp_path / name)} for name in jobs}
    report["resumed0"]["codes"] = [None]
    found = rank_rounds.judged(jobs, report)
    assert found["hung"] == ["resumed0"]
    assert [item["round"] for item in found["wrong"]] == ["round0"]
