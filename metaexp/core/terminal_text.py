"""The only place that prints. Text from records, configurations and file names is printed without control characters.

A terminal obeys control characters: it would change colours, clear the screen, or retitle its window because the name
of a run says so. Direction marks would let a line read as another. Both become a replacement character in every text.
ruff refuses ``print`` elsewhere, and a test refuses other consoles. Lines are laid out for the width of the terminal
here, too.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_MARK = "\N{REPLACEMENT CHARACTER}"
_KEPT = "\n\t"
_FURTHER_IN = 4  # columns, of what does not fit its line
_LABEL = re.compile(r" *\S.*? {2,}(?=\S)")


def plain(text: str) -> str:
    """Return ``text`` in one line, without control characters and direction marks."""
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(c if c.isprintable() else _MARK for c in line)


def plain_lines(text: str) -> str:
    """Return ``text`` with its lines, without control characters and direction marks."""
    return text if text.isprintable() else "".join(map(_plain_letter, text))


def print_text(text: str, *, end: str = "\n", file: TextIO | None = None, flush: bool = False) -> None:
    """Print text on standard output.

    Args:
        text: One or more lines. What a terminal would obey is replaced.
        end: What follows the text.
        file: Where to print instead, such as ``sys.stderr``.
        flush: Write at once, also into a pipe.
    """
    print(f"{plain_lines(text)}{end}", end="", file=file, flush=flush)


def print_phase(text: str) -> None:
    """Print on standard error what a command does now, if that is a terminal; files and pipes get only results."""
    if sys.stderr is not None and sys.stderr.isatty():
        print_text(text, file=sys.stderr, flush=True)


def make_console(*, to_errors: bool = False) -> Console:
    """Return a console of rich that prints words and tables.

    No text is markup, and what a terminal would obey is replaced; styles are those of the program alone. A notebook
    gets plain lines, not a block of HTML for each. It calls itself a terminal, also to the commands of its cells
    (``!metaexp train``), but cannot draw over what it has shown, so it is none here.

    Args:
        to_errors: Print on standard error.
    """
    is_notebook = "ipykernel" in sys.modules or "JPY_PARENT_PID" in os.environ  # a kernel, or what it has started
    return _console_class()(
        stderr=to_errors, highlight=False, markup=False, emoji=False, force_jupyter=False,
        force_terminal=False if is_notebook else None,
    )  # fmt: skip


def align_columns(lines: Sequence[Sequence[str]], right: Sequence[int] = (), indent: int = 0) -> list[str]:
    """Align the columns of lines. The last column is not padded.

    On a terminal that is narrower than the lines, the columns that do not fit follow on a line of their own.

    Args:
        lines: The texts of each line, the head first.
        right: Columns whose texts end below each other.
        indent: How far in the lines begin.
    """
    widths = [max(map(len, column), default=0) for column in zip(*lines, strict=True)]
    groups = _split(widths, terminal_width(), indent)
    found = []
    for line in lines:
        cells = [
            text.rjust(width) if i in right else text.ljust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        texts = ["  ".join(cells[i] for i in group).rstrip() for group in groups]
        found += [
            " " * (indent + (_FURTHER_IN if i else 0)) + text for i, text in enumerate(texts) if text.strip() or not i
        ]
    return found


def wrap_lines(text: str) -> str:
    """Return lines that a terminal does not break within words. What follows a label stays beside it.

    Args:
        text: Lines, such as the help of a verb. Where nothing is a terminal, they stay as they are.
    """
    room = terminal_width()
    return text if math.isinf(room) else "\n".join(_wrap(line, int(room)) for line in text.split("\n"))


def terminal_width() -> float:
    """Return how many columns the terminal of standard output has; infinity where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else math.inf


def _plain_letter(letter: str) -> str:
    if letter.isprintable() or letter in _KEPT or unicodedata.category(letter) == "Zs":
        return letter
    return " " if letter.isspace() else _MARK


@cache
def _console_class() -> type[Console]:
    """Rich's console, whose pieces of text are made plain; rich takes longer to import than the rest of a start."""
    from collections.abc import Iterable

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class PlainConsole(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                is_plain = segment.control is not None or segment.text.isprintable()
                yield segment if is_plain else Segment(plain_lines(segment.text), segment.style)

    return PlainConsole


def _split(widths: Sequence[int], room: float, indent: int) -> list[list[int]]:
    """Which columns share a line."""
    groups: list[list[int]] = [[]]
    used = indent
    for i, width in enumerate(widths):
        if groups[-1] and used + width > room:
            groups.append([])
            used = indent + _FURTHER_IN
        groups[-1].append(i)
        used += width + 2
    return groups


def _wrap(line: str, room: int) -> str:
    if len(line) <= room:
        return line
    label = _LABEL.match(line)
    start = len(line) - len(line.lstrip()) + 2
    further = len(label[0]) if label and len(label[0]) <= room // 2 else start
    return textwrap.fill(
        line,
        room,
        subsequent_indent=" " * further,
        break_long_words=False,
        break_on_hyphens=False,
    )
