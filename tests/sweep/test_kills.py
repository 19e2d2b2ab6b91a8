"""A sweep that is killed again and again ends as if nothing had happened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sampling import size

from metaexp.machine.forked_process import can_fork

KILLS = Path(__file__).resolve().parents[1] / "support" / "kills"


WARM = pytest.param(["--warm"], 2, size(1, 2), marks=pytest.mark.skipif(not can_fork(), reason="no warm parents here"))


@pytest.mark.slow
@pytest.mark.parametrize(("how", "jobs", "kills"), [([], size(2, 4), 5), WARM])
def test_killed_at_random_moments_a_sweep_ends_with_the_same_bytes(
    tmp_path: Path, how: list[str], jobs: int, kills: int
) -> None:
    """SIGKILL for the sweep and its workers; the fifth kill is timed by the sweep itself.

    With warm parents there are fewer, because each sweep after a kill imports torch: two, as the files of the
    configuration are edited after the second. The script takes more jobs and kills, too: 20 and 30 need minutes.
    """
    done = subprocess.run(
        [sys.executable, str(KILLS / "kill_sweep.py"), str(tmp_path), str(jobs), str(kills), *how],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr or done.stdout
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["jobs"] == jobs
    assert report["kills"] == kills
    assert report["again"] == report["missing"] == report["different"] == []
    assert report["tells_differences"], "the comparison must be able to fail"
