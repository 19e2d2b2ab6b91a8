"""Ctrl-C while the command line is imported ends the command as later: with a line, code 130 and no traceback."""

from __future__ import annotations

import configparser
import importlib
import sys
from pathlib import Path

import pytest

from metaexp.core.errors import ExitCode


class Interrupting:
    """Stands for a Ctrl-C that comes while a module is imported."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, name: str, *_: object) -> None:
        if name == self.name:
            raise KeyboardInterrupt


def entry_point() -> tuple[str, str]:
    """The module and the function that the installed command ``metaexp`` calls."""
    settings = configparser.ConfigParser()
    settings.read(Path(__file__).resolve().parents[1] / "setup.cfg")
    module, _, function = settings["options.entry_points"]["console_scripts"].partition("=")[2].strip().partition(":")
    return module, function


@pytest.mark.parametrize("name", ["metaexp.cli.main", "metaexp.cli.other_words"])
def test_an_interrupt_while_the_command_line_is_imported_ends_quietly(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in [key for key in sys.modules if key.startswith("metaexp.cli")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(name), *sys.meta_path])
    module, function = entry_point()
    assert getattr(importlib.import_module(module), function)() == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "metaexp: interrupted\n"


def test_without_an_interrupt_the_command_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["metaexp", "--version"])
    module, function = entry_point()
    assert getattr(importlib.import_module(module), function)() == ExitCode.OK
    assert capsys.readouterr().out.startswith("metaexp ")
