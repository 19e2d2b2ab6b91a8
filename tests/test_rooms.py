"""The rooms of the project: imports point down, and what checks it would notice if they did not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLANTED = {
    "core/files.py": ("import metaexp.models.init", "imports point down"),
    "tracking/files.py": ("import metaexp.results.record", "imports point down"),
    "algorithms/anil.py": ("import metaexp.algorithms.maml", "an algorithm is one file"),
    "models/base.py": ("import omegaconf", "only the runner and the command line know Hydra"),
    "results/record.py": ("import wandb", "only tracking/wandb.py knows"),
    "run/session.py": ("import optuna", "only search/study.py knows optuna"),
    "newroom/__init__.py": ("", "imports point down"),
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package and its contracts, to be damaged."""
    shutil.copytree(ROOT / "metaexp", tmp_path / "metaexp", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    return tmp_path


def broken(folder: Path) -> list[str]:
    """Names of the contracts that are broken."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    env = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    return [line.partition(" BROKEN")[0] for line in done.stdout.splitlines() if " BROKEN" in line]


def test_the_rooms_are_in_order_and_a_planted_import_would_be_seen(copy: Path) -> None:
    assert broken(copy) == []
    for name, (line, _) in PLANTED.items():
        path = copy / "metaexp" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")
    found = broken(copy)
    assert len(found) == 5
    for _, contract in PLANTED.values():
        assert any(name.startswith(contract) for name in found), contract


@pytest.mark.parametrize("name", ["core/files.py", "newroom/__init__.py"])
def test_each_kind_of_breach_is_seen_by_itself(copy: Path, name: str) -> None:
    line, contract = PLANTED[name]
    path = copy / "metaexp" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")
    (found,) = broken(copy)
    assert found.startswith(contract)
