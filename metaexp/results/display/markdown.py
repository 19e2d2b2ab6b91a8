"""Tables and escapes for Markdown pages."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

from metaexp.core.errors import RunFolderError
from metaexp.core.terminal_text import plain

_WIDTH: Final = 120
_NO_PARAGRAPH: Final = ("|", "#", "*", "-", " ", "<", ">")
"""The first characters of tables, headings, lists, indented code, HTML and quotes."""


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Return a Markdown table. Pipes and line ends in cells are escaped.

    Args:
        header: The headings.
        rows: The cells.
        right: Indices of the columns that are aligned right.
    """
    aligned = set(right)
    rule = ["---:" if column in aligned else "---" for column in range(len(header))]
    lines = [_row(header), _row(rule), *(_row([_cell(cell) for cell in row]) for row in rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|") or " "


def escape_line(text: str) -> str:
    """Return text from a record in one line, so that it makes no link, image, HTML or code block on a page.

    Control characters, which a terminal would obey, become a replacement character. Plain names stay as they are.
    """
    return plain(text).replace("<", "&lt;").replace("`", "'").replace("](", "]\\(")


def between_markers(text: str, name: str, content: str) -> str:
    """Replace what stands between ``<!-- name:begin -->`` and ``<!-- name:end -->``.

    Args:
        text: The text of a page.
        name: The name in the markers.
        content: What is to stand there.

    Returns:
        The new text.

    Raises:
        RunFolderError: The two markers are not there exactly once, in this order.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise RunFolderError(f"the text needs the lines {begin} and {end} once each, in this order.")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{wrap_paragraphs(content.strip())}\n{end}{after}"


def wrap_paragraphs(text: str) -> str:
    """Return Markdown whose paragraphs have lines of at most 120 characters. Tables, lists and code stay as they are.

    Args:
        text: The Markdown, with one line for each paragraph that is to be wrapped.
    """
    return "\n".join(
        line
        if len(line) <= _WIDTH or line.startswith(_NO_PARAGRAPH)
        else textwrap.fill(line, _WIDTH, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )
