"""Disturbed at random, runs on several ranks neither hang nor lose anything. Fifty rounds: docs/reliability.md."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from forking import run_program
from sampling import only_exhaustive

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def rank_rounds() -> ModuleType:
    return importlib.import_module("rank_rounds")


@only_exhaustive
@pytest.mark.slow
def test_disturbed_runs_end_and_go_on_bit_for_bit(
    rank_rounds: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], *, check: bool) -> None:
        """In a process forked from this one, which has imported torch."""
        code, printed = run_program(Path(command[1]), command[2:], tmp_path)
        assert code == 0, printed

    monkeypatch.setattr(rank_rounds, "subprocess", SimpleNamespace(run=run))
    kinds = list(rank_rounds.DISTURBANCES)
    found = rank_rounds.run_rounds(tmp_path / "rounds", len(kinds), 1, kinds)
    assert found["hung"] == []
    assert found["wrong"] == []
    assert found["tried"] == dict.fromkeys(kinds, 1)
    assert {"none", "kill", "SIGTERM", "SIGHUP", "SIGKILL"} <= set(kinds)


def test_a_hang_and_other_bytes_would_be_noticed(rank_rounds: ModuleType, tmp_path: Path) -> None:
    killed = {"ranks": 1, "what": "kill", "act": ["kill", 0, 3]}
    jobs = {"undisturbed1": {"ranks": 1}, "round0": killed, "resumed0": {"ranks": 1}}
    for name, text in (("undisturbed1", "a"), ("round0", "b")):
        for kept in (*rank_rounds.KEPT, "config.yaml"):
            (tmp_path / name / kept).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / kept).write_text(text)
    report = {name: {"codes": [0], "seconds": 1.0, "folder": str(tmp_path / name)} for name in jobs}
    report["round0"]["codes"] = [-9]
    assert [item["faults"] for item in rank_rounds.judged(jobs, report)["wrong"]] == [["other bytes"]]
    report["resumed0"]["codes"] = [None]
    found = rank_rounds.judged(jobs, report)
    assert found["hung"] == ["resumed0"]
    assert [item["faults"] for item in found["wrong"]] == [["not resumed"]]
    assert found["ranks"] == {"1": 1, "2": 0, "4": 0}
    assert found["too_late"] == 0
    assert found["each"] == [{"what": "kill", "ranks": 1, "disturbed": [0], "codes": [-9], "resumed": [None]}]
    report["round0"]["codes"] = [0]
    assert [item["faults"] for item in rank_rounds.judged(jobs, report)["wrong"]] == [["exit codes", "not resumed"]]


@pytest.mark.parametrize(
    ("job", "fine", "wrong"),
    [
        ({"what": "none"}, [[0, 0]], [[0, 6]]),
        ({"what": "error", "act": ["error", 1, 3]}, [[1, 1]], [[0, 1], [6, 1], [143, 143], [None, 1]]),
        ({"what": "outside", "act": ["outside", 1, 3]}, [[6, 1]], [[1, 6], [1, 1]]),
        ({"what": "other"}, [[6, 6]], [[0, 0], [2, 6]]),
        ({"what": "kill", "act": ["kill", 0, 3]}, [[-9, 6]], [[6, -9], [-9, 1], [-9, -9], [-9, 0]]),
        ({"what": "stop all", "act": ["stop", "all", 3]}, [[143, 143]], [[-15, -15], [143, 6], [0, 0]]),
        ({"what": "SIGTERM", "signal": [15, 0, 0.1]}, [[143, 143], [-15, 6], [0, 0]], [[6, -15], [6, 6], [143, 0]]),
        ({"what": "SIGHUP", "signal": [1, "all", 0.1]}, [[129, 129], [-1, 6], [0, 0]], [[143, 143], [129, 0]]),
        ({"what": "SIGKILL", "signal": [9, 1, 0.1]}, [[6, -9], [0, -9], [0, 0]], [[-9, 6], [6, 0], [6, 6], [1, -9]]),
    ],
)
def test_each_disturbance_has_its_exit_codes(
    rank_rounds: ModuleType, job: dict[str, Any], fine: list[list[int]], wrong: list[list[int | None]]
) -> None:
    job = job | {"ranks": 2}
    assert [codes for codes in fine if not rank_rounds.ends_as_it_may(job, codes)] == []
    assert [codes for codes in wrong if rank_rounds.ends_as_it_may(job, codes)] == []


def test_every_disturbance_is_judged_and_every_number_of_ranks_is_drawn(rank_rounds: ModuleType) -> None:
    assert set(rank_rounds.EXITS) == set(rank_rounds.DISTURBANCES)
    jobs = rank_rounds.planned(50, 0)
    assert {job["ranks"] for name, job in jobs.items() if name.startswith("round")} == {1, 2, 4}


def test_the_record_says_where_and_how_the_rounds_were_run(rank_rounds: ModuleType) -> None:
    found = rank_rounds.about(3)
    assert found["seed"] == 3
    assert found["started"] == "forked, with the environment that torchrun sets"
    assert found["machine"]["cores"] >= 1
    assert re.match(r"\d+\.\d+", found["torch"])
    assert found["commit"] is None or re.fullmatch("[0-9a-f]{40}", found["commit"])


def test_a_signal_after_the_end_of_a_run_is_counted(rank_rounds: ModuleType, tmp_path: Path) -> None:
    jobs = {name: {"ranks": 1, "what": "SIGTERM", "signal": [15, 0, 0.5]} for name in ("round0", "resumed0")}
    report = {name: {"codes": [0], "seconds": 1.0, "folder": str(tmp_path)} for name in jobs}
    assert rank_rounds.judged(jobs, report)["too_late"] == 1
    report["round0"]["codes"] = [143]
    assert rank_rounds.judged(jobs, report)["too_late"] == 0
