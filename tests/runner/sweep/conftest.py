"""What the tests of sweeps share."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from metaexp.runner import targets
from metaexp.runner.source import read_module

_warm: list[bool] = []


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The module ``sweep_runs``, trusted; workers are forked, without pictures; the process is in an empty folder."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(targets, "_trusted", {"sweep_runs", "tiny_runs"})
    read_module.cache_clear()
    module = importlib.import_module("sweep_runs")
    monkeypatch.setattr("metaexp.runner.session.draw", lambda *_: {})
    monkeypatch.setattr("metaexp.runner.sweep.run.start", module.fork)
    module.write_files(tmp_path / "conf")
    if not _warm:
        module.warm_up(tmp_path / "warm")
        _warm.append(True)
    return module
