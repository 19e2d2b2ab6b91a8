"""Prototypical Networks: the paper, the authors' code run by others, and the records in docs/results, in one table.

Nothing is measured::

    python benchmarks/published/others_proto_net.py --page docs/ablations.md
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ablations import RESULTS
from pages import page_parser, write_page

from metaexp.report.pages import read_entries
from metaexp.report.rows import Entry, format_measured, grouped
from metaexp.results.display.markdown import between_markers, format_table
from metaexp.results.display.wording import format_marked, format_task

AUTHORS_CODE: Final = {(5, 1): 0.984, (5, 5): 0.996, (20, 1): 0.949, (20, 5): 0.986}
"""Ways and shots -> what others got with the authors' code of Prototypical Networks, in issue 2 of its repository."""
RUNS: Final = ("proto_net_omniglot_5way_1shot", "proto_net_omniglot_5way_1shot_trainval")


def format_results(rows: Sequence[Entry]) -> str:
    """Return the table."""
    lines = []
    for task, others in AUTHORS_CODE.items():
        ours = [_row(rows, name, task) for name in RUNS]
        measured = [f"[{format_measured(row)}](results/{row.page})" for row in ours]
        published = format_marked(ours[0].record.reference)
        lines.append([format_task(ours[0].record.task), published, f"{100 * others:.1f} %", *measured])
    titles = [
        "task", "published", "the authors' code, run by others", "here, trained on training characters",
        "and on validation characters",
    ]  # fmt: skip
    return format_table(titles, lines, right=(1, 2, 3, 4))


def _row(rows: Sequence[Entry], name: str, task: tuple[int, int]) -> Entry:
    """The row of a run on a task, or of a later test on it."""
    return next(row for row in rows if row.name == name and (row.record.task.n_way, row.record.task.k_shot) == task)


def on_page(text: str, rows: Sequence[Entry]) -> str:
    """Return the text of the page with the table of some rows."""
    return between_markers(text, "proto_net_here", format_results(rows))


def main(arguments: list[str] | None = None) -> int:
    """Write the page; exit code 0, or 1 where ``--check`` finds it stale."""
    options = page_parser(__doc__, "docs/ablations.md").parse_args(arguments)
    return write_page(options, lambda text: on_page(text, grouped(read_entries(RESULTS))))


if __name__ == "__main__":
    sys.exit(main())
