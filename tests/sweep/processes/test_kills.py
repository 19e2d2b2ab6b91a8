"""A sweep that is killed again and again ends as if nothing had happened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from forking import run_program
from sampling import size

from metaexp.machine.forked_process import can_fork

KILLS = Path(__file__).resolve().parents[2] / "support" / "kills"


WARM = pytest.param(["--warm"], 2, 2, marks=pytest.mark.skipif(not can_fork(), reason="no warm parents here"))


@pytest.mark.slow
@pytest.mark.parametrize(("how", "jobs", "kills"), [([], size(2, 4), 5), WARM][: size(1, 2)])
def test_killed_at_random_moments_a_sweep_ends_with_the_same_bytes(
    tmp_path: Path, how: list[str], jobs: int, kills: int
) -> None:
    """SIGKILL for the sweep and its workers; the fifth kill is timed by the sweep itself.

    With warm parents there are two, as the files of the configuration are edited after the second. The script takes
    more jobs and kills, too: 20 and 30 need minutes.
    """
    code, printed = run_program(KILLS / "kill_sweep.py", [tmp_path, jobs, kills, *how], tmp_path)
    assert code == 0, printed
    report = json.loads(printed.splitlines()[-1])
    assert report["jobs"] == jobs
    assert report["kills"] == kills
    assert report["again"] == report["missing"] == report["different"] == []
    assert report["tells_differences"], "the comparison must be able to fail"
