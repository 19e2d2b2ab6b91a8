"""Another Python process finds this metaexp, and nothing else of the environment changes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import metaexp
from metaexp.machine.python_path import with_metaexp

ROOT = str(Path(metaexp.__file__).resolve().parents[1])


def test_the_folder_of_metaexp_comes_before_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [ROOT])
    assert with_metaexp({"A": "1"}) == {"A": "1", "PYTHONPATH": ROOT}
    assert with_metaexp({"PYTHONPATH": "/else"}) == {"PYTHONPATH": os.pathsep.join([ROOT, "/else"])}


def test_an_installed_metaexp_needs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [])
    assert with_metaexp({"A": "1"}) == {"A": "1"}
    place = tmp_path / "site-packages"
    monkeypatch.setattr(metaexp, "__file__", str(place / "metaexp" / "__init__.py"))
    monkeypatch.setattr(sys, "path", [str(place)])
    assert with_metaexp({"A": "1"}) == {"A": "1"}
