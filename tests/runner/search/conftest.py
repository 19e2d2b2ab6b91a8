"""What the tests of searches share."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from metaexp.runner import targets
from metaexp.runner.job import run_job
from metaexp.runner.progress import Lines
from metaexp.runner.source import read_module

_warm: list[bool] = []


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The module ``search_runs``, trusted; trials are forked, without pictures; the process is in an empty folder."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(targets, "_trusted", {"search_runs", "tiny_runs"})
    read_module.cache_clear()
    module = importlib.import_module("search_runs")
    monkeypatch.setattr("metaexp.runner.session.draw", lambda *_: {})
    monkeypatch.setattr("metaexp.runner.search.run.start", module.start)
    for name, text in module.FILES.items():
        (tmp_path / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / name).write_text(text)
    if not _warm:  # torch imports much of itself when it is first used
        tiny = importlib.import_module("tiny_runs")
        run_job(tiny.settings(tmp_path / "warm", train__steps=1), display=Lines(Console(quiet=True)))
        _warm.append(True)
    return module
