"""The only place that prints. Text from records, configurations and file names is printed without control characters.

A terminal obeys control characters: it would change colours, clear the screen, or retitle its window because the name
of a run says so. Direction marks would let a line read as another. Both become a replacement character, whoever wrote
the text. ruff refuses ``print`` elsewhere, and a test refuses other consoles.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_MARK = "\N{REPLACEMENT CHARACTER}"
_KEPT = "\n\t"


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
    """Print on standard error what a command does now, if that is a terminal; files and pipes get results alone."""
    if sys.stderr is not None and sys.stderr.isatty():
        print_text(text, file=sys.stderr, flush=True)


def make_console(*, to_errors: bool = False) -> Console:
    """Return a console of rich that prints words and tables.

    No text is markup, and what a terminal would obey is replaced; styles are those of the program alone. A notebook
    gets plain lines, not a block of HTML for each.

    Args:
        to_errors: Print on standard error.
    """
    return _console_class()(stderr=to_errors, highlight=False, markup=False, emoji=False, force_jupyter=False)


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
