"""The modules that draw a run's figures are imported when it starts, and matplotlib only when one is drawn."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODULES = ", ".join(
    f"metaexp.results.{name}" for name in ("figures.episodes", "figures.fits", "figures.run_curves", "per_class.figure")
)


@pytest.mark.parametrize(("also", "code"), [("sys", 0), ("matplotlib", 1)])
def test_a_start_does_not_wait_for_matplotlib(also: str, code: int) -> None:
    program = f"import sys, {also}, {MODULES}; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == code
