"""Text from outside commands no terminal, whichever way it is printed, and there is one place that prints."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest
from rich.color import ColorSystem
from rich.table import Table
from rich.text import Text

import metaexp
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.core.terminal_text import make_console, plain, plain_lines, print_text

HOSTILE = "a\x1b[31mb\x1b]0;title\x07\x9b2Jc\x08\r\x00\u202ed\u2066e\ud800[red]f[/red]:smile:"
MEANT = "a\ufffd[31mb\ufffd]0;title\ufffd\ufffd2Jc\ufffd \ufffd\ufffdd\ufffde\ufffd[red]f[/red]:smile:"


def test_a_line_is_made_plain() -> None:
    assert plain(HOSTILE) == MEANT
    assert plain(" one\ntwo\tthree ") == "one two three"
    assert plain("naïve ± 5 % 漢字") == "naïve ± 5 % 漢字"


def test_lines_stay_lines() -> None:
    assert plain_lines(f"{HOSTILE}\n\tb") == f"{MEANT}\n\tb"
    assert plain_lines("1\u00a0000\u2028b") == "1\u00a0000 b"


def test_what_is_printed_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    print_text(HOSTILE)
    assert capsys.readouterr().out == f"{MEANT}\n"


def test_the_message_of_an_error_is_plain() -> None:
    assert str(RunFolderError(f"x: {HOSTILE}")) == f"x: {MEANT}"
    assert str(ConfigError(["one", HOSTILE])) == f"one\n{MEANT}"


def test_the_message_of_an_error_is_not_endless() -> None:
    said = str(RunFolderError(f"the columns are {'9' * 100_000}: Restore the file."))
    assert len(said) < 3_000
    assert said.startswith("the columns are 999")
    assert said.endswith("9: Restore the file.")
    assert len(str(RunFolderError("x" * 3_000))) == 3_000


@pytest.mark.parametrize("of", ["text", "Text", "cell", "title", "style"])
def test_what_a_console_prints_is_plain_and_no_markup(of: str) -> None:
    console = make_console()
    console.file = io.StringIO()
    console.width = 200
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    shown = {"text": HOSTILE, "Text": Text(HOSTILE), "cell": table, "title": table, "style": HOSTILE}[of]
    console.print(shown, soft_wrap=True, style="bold" if of == "style" else None)
    found = console.file.getvalue()
    assert "[red]f[/red]:smile:" in found
    assert not [c for c in found if not (c.isprintable() or c == "\n")]


def test_a_console_still_colours_what_the_program_says() -> None:
    console = make_console()
    console.file = io.StringIO()
    console._color_system = ColorSystem.STANDARD
    console.print(Text("plain\x1b[2J", style="bold"))
    assert "\x1b[1mplain\ufffd[2J\x1b[0m" in console.file.getvalue()


def printers(package: Path) -> list[str]:
    """The files that make a console of rich themselves, or write to a standard stream."""
    found = []
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called.split(".")[-1] == "Console" or called in ("print", "sys.stdout.write", "sys.stderr.write"):
                found.append(path.name)
    return found


def test_nothing_else_prints(tmp_path: Path) -> None:
    # An interrupt while __main__.py imports the rest is told before there is anything to tell it with.
    assert printers(Path(metaexp.__file__).parent) == ["__main__.py", "terminal_text.py"]
    (tmp_path / "other.py").write_text("from rich import console\nconsole.Console().print(1)\n")
    assert printers(tmp_path) == ["other.py"]
