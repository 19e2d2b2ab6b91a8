"""Lines that fit the terminal."""

from __future__ import annotations

import io
import math
import sys
from types import ModuleType

import pytest

from metaexp.cli.main import main
from metaexp.core import terminal_text
from metaexp.core.terminal_text import align_columns, make_console, terminal_width, wrap_lines
from metaexp.run.progress import Bar, Lines, default_display

LINES = [["state", "size", "what", "folder"], ["done", "5 MB", "maml on glyphs", "outputs/one"], ["-", "9 kB", "", "b"]]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> _Terminal:
    """Make standard output a terminal. pytest sets it again after fixtures."""
    made = _Terminal()
    monkeypatch.setattr(sys, "stdout", made)
    monkeypatch.setenv("COLUMNS", str(width))
    return made


def test_columns_that_do_not_fit_follow_on_lines_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    open_terminal(monkeypatch, 39)
    assert align_columns(LINES, right=(1,)) == [
        "state  size  what",
        "    folder",
        "done   5 MB  maml on glyphs",
        "    outputs/one",
        "-      9 kB",
        "    b",
    ]
    assert align_columns([("metaexp ls", "# all"), ("metaexp train -m algorithm=maml", "# more")], indent=2) == [
        "  metaexp ls",
        "      # all",
        "  metaexp train -m algorithm=maml",
        "      # more",
    ]


def test_columns_that_fit_and_those_of_a_file_stay_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    open_terminal(monkeypatch, 40)
    lines = [
        "state  size  what            folder",
        "done   5 MB  maml on glyphs  outputs/one",
        "-      9 kB                  b",
    ]
    assert len(lines[1]) == 40
    assert align_columns(LINES, right=(1,)) == lines
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert terminal_width() == math.inf
    assert align_columns(LINES, right=(1,)) == lines


def test_long_lines_are_wrapped_between_words_beside_their_label(monkeypatch: pytest.MonkeyPatch) -> None:
    open_terminal(monkeypatch, 39)
    text = (
        "  seed=0,1       run every combination of the values, or the ones of a file\n\nshort\n  a: b, c, " + "d" * 50
    )
    assert wrap_lines(text).split("\n") == [
        "  seed=0,1       run every combination",
        "                 of the values, or the",
        "                 ones of a file",
        "",
        "short",
        "  a: b, c,",
        "    " + "d" * 50,
    ]


def test_no_line_of_a_help_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch, 80)
    for verb in ("train", "check", "data", "plan", "evaluate"):
        assert main([verb, "--help"]) == 0
    lines = terminal.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    monkeypatch.setattr(terminal_text, "terminal_width", lambda: math.inf)
    assert main(["train", "--help"]) == 0
    assert max(map(len, terminal.getvalue().splitlines())) > 80


def test_neither_a_kernel_nor_a_command_of_its_cells_draws_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    open_terminal(monkeypatch, 80)
    monkeypatch.setenv("TERM", "xterm-color")  # as a cell has it
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    assert make_console().is_terminal
    assert isinstance(default_display(), Bar)
    with monkeypatch.context() as kernel:
        kernel.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
        assert not make_console().is_terminal
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    assert not make_console().is_terminal
    assert isinstance(default_display(), Lines)


def test_a_terminal_that_cannot_be_drawn_on_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar would be shown nowhere: rich draws none there."""
    monkeypatch.setattr(sys, "stderr", open_terminal(monkeypatch, 80))
    monkeypatch.setenv("TERM", "dumb")
    assert make_console(to_errors=True).is_terminal
    assert isinstance(default_display(), Lines)
