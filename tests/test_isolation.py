"""Tests that run in one process leave nothing behind that another one meets."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest


@pytest.mark.parametrize("number", [1, 2])
def test_a_package_is_that_of_the_test_that_wrote_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (tmp_path / "written_twice").mkdir()
    (tmp_path / "written_twice" / "one.py").write_text(f"value = {number}\n")
    (tmp_path / "written_twice" / f"only_{number}.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("written_twice.one")
    assert number == module.value
    assert importlib.import_module(f"written_twice.only_{number}")
