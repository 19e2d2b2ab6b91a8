"""Searches of these tests draw no figures; tests/search/test_figures.py draws them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    monkeypatch.setattr("metaexp.search.run._draw", lambda _: None)
