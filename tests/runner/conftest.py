"""What the tests of the runner share: a tiny family of tasks, trained in milliseconds."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from metaexp.runner import targets
from metaexp.runner.progress import Lines
from metaexp.runner.source import read_module


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module ``tiny_runs``, trusted for the length of a test."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setattr(targets, "_trusted", {"tiny_runs"})
    monkeypatch.setattr("metaexp.runner.session.draw", lambda *_: {})  # pictures take longer than these runs
    read_module.cache_clear()
    return importlib.import_module("tiny_runs")


@pytest.fixture
def silent() -> Lines:
    """A display that shows nothing."""
    return Lines(Console(quiet=True))
