"""Prints tables on a terminal of any width without breaking a word, such as ``optimizer.lr=0.01``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_BETWEEN, _EDGES = 3, 2
"""Columns of the terminal between two columns of a table, and at its sides."""


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[Text]], numbers: Sequence[int], console: Console
) -> None:
    """Print a table. Where the terminal is too narrow for its words, print each row as a list.

    Args:
        headings: The heading of each column.
        rows: The cells of each row, which may have several lines.
        numbers: The places of the columns with numbers, which are aligned right.
        console: The terminal.
    """
    widths = _widths(headings, rows, numbers, console.width)
    if widths is None:
        _print_lists(headings, rows, numbers, console)
        return
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, (heading, width) in enumerate(zip(headings, widths, strict=True)):
        made.add_column(Text(heading), justify="right" if i in numbers else "left", width=width, overflow="fold")
    for row in rows:
        made.add_row(*row)
    console.print(made)


def _widths(
    headings: Sequence[str], rows: Sequence[Sequence[Text]], numbers: Sequence[int], width: int
) -> list[int] | None:
    """Return how wide each column is: its words have room, then its numbers, then its lines; None if words have not."""
    room = width - _BETWEEN * (len(headings) - 1) - _EDGES
    columns = [[row[i].plain for row in rows] for i in range(len(headings))]
    words = [_widest(" ".join([heading, *texts]).split()) for heading, texts in zip(headings, columns, strict=True)]
    if sum(words) > room:
        return None
    lines = [_widest(line for text in texts for line in text.split("\n")) for texts in columns]
    numbers_first = _widened(words, [lines[i] if i in numbers else 0 for i in range(len(lines))], room)
    return _widened(numbers_first, [max(cell_len(headings[i]), most) for i, most in enumerate(lines)], room)


def _widest(texts: Iterable[str]) -> int:
    return max(map(cell_len, texts), default=1)


def _widened(least: Sequence[int], most: Sequence[int], room: int) -> list[int]:
    """Return wider columns, up to the room that there is. One that lacks more of the most it can use comes first."""
    widths = list(least)
    for _ in range(room - sum(widths)):
        i = max(range(len(widths)), key=lambda i: most[i] - widths[i])
        widths[i] += most[i] > widths[i]
    return widths


def _print_lists(
    headings: Sequence[str], rows: Sequence[Sequence[Text]], numbers: Sequence[int], console: Console
) -> None:
    """Print each row as its name, which is the first column of text, its numbers, and a line for each other text."""
    name = next(i for i in range(len(headings)) if i not in numbers)
    console.print()
    for row in rows:
        named = [
            Text.assemble(f"{heading}: " if heading else "", Text(", ").join(cell.split("\n")))
            for heading, cell in zip(headings, row, strict=True)
        ]
        console.print(row[name], style="bold")
        texts = [text for i, text in enumerate(named) if i != name and i not in numbers]
        for text in [*([Text("; ").join(named[i] for i in numbers)] if numbers else []), *texts]:
            console.print(Padding(text, (0, 0, 0, 2), expand=False))
    console.print()
