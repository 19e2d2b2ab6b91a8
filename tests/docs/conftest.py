"""Configurations composed, and committed episodes read, once for all tests of the pages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings
from metaexp.results.episodes import tested_episodes
from metaexp.results.record import Score

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"


@cache
def _composed(overrides: tuple[str, ...]) -> Settings:
    return Composer().settings(overrides, Purpose.PLAN)


def _settings(overrides: Sequence[str], purpose: Purpose) -> Settings:
    assert purpose is Purpose.PLAN
    return _composed(tuple(overrides))


def _published(experiment: str) -> Settings:
    return _composed((f"experiment={experiment}",))


_committed = cache(tested_episodes)


def _tested(path: Path, test: Score | None, sha256: str | None) -> list[list[float]]:
    place = path.resolve()
    return (_committed if place.is_relative_to(RESULTS) else tested_episodes)(place, test, sha256)


@pytest.fixture
def remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    """``metaexp report`` composes each configuration, and reads the committed later tests, once in this process.

    These files do not change meanwhile.
    """
    monkeypatch.setattr("metaexp.results.evaluations.tested_episodes", _tested)
    for place in ("metaexp.cli.report", "metaexp.reproduce.today"):
        monkeypatch.setattr(f"{place}.Composer", lambda: SimpleNamespace(settings=_settings, published=_published))
