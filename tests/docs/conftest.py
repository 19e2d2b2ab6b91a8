"""Configurations composed once for all tests of the pages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace

import pytest

from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings


@cache
def _composed(overrides: tuple[str, ...]) -> Settings:
    return Composer().settings(overrides, Purpose.PLAN)


def _settings(overrides: Sequence[str], purpose: Purpose) -> Settings:
    assert purpose is Purpose.PLAN
    return _composed(tuple(overrides))


def _published(experiment: str) -> Settings:
    return _composed((f"experiment={experiment}",))


@pytest.fixture
def remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    """``metaexp report`` composes each configuration once in this process; the files do not change meanwhile."""
    monkeypatch.setattr(
        "metaexp.cli.report.Composer", lambda: SimpleNamespace(settings=_settings, published=_published)
    )
