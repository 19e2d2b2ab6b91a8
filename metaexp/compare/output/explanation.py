"""Prints why two runs have different numbers."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from metaexp.compare.output.terminal_table import print_table
from metaexp.compare.why import KINDS, Explanation
from metaexp.core.terminal_text import plain


def print_explanation(explanation: Explanation, console: Console) -> None:
    """Print the numbers, then one table for each kind of difference.

    Args:
        explanation: What to print.
        console: The terminal to print on.
    """
    console.print(Text(f"A: {plain(str(explanation.first.folder))}"), soft_wrap=True)
    console.print(Text(f"B: {plain(str(explanation.second.folder))}"), soft_wrap=True)
    for line in explanation.numbers:
        console.print(Text(plain(line)))
    if not explanation.findings:
        console.print(Text("Nothing that is recorded differs.", style="bold"))
    for kind in KINDS:
        found = [finding for finding in explanation.findings if finding.kind == kind.name]
        if not found:
            continue
        console.print()
        console.print(Text.assemble((kind.name, "bold"), f": {kind.meaning}"))
        rows = [[Text(plain(text)) for text in (finding.key, finding.first, finding.second)] for finding in found]
        print_table(["", "A", "B"], rows, [], console)
