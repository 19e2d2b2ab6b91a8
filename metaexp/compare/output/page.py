"""A comparison as one HTML file that needs no server and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metaexp.compare.comparison import ComparedRuns, Table
from metaexp.compare.output.cells import (
    STAR,
    compact_cells,
    costs_cells,
    format_pooled_warnings,
    left_out_cells,
    pairs_cells,
    settings_cells,
    tasks_cells,
)
from metaexp.compare.output.classes import classes_cells
from metaexp.compare.output.documents import has_star
from metaexp.compare.output.wording import format_headline, format_legend
from metaexp.results.display.html_page import render_page

_ACROSS = ("shots_", "ways_")


def to_html(comparison: ComparedRuns, drawn: Mapping[str, str]) -> str:
    """Return the page of a comparison.

    Args:
        comparison: What it shows.
        drawn: The ``<svg>`` element of every figure, by its name.
    """
    return render_page(
        "metaexp.compare.output",
        "page",
        title=comparison.title,
        command=comparison.command,
        sections=[
            _section(table, _figures_of(drawn, number, comparison)) for number, table in enumerate(comparison.tables)
        ],
        tasks=tasks_cells(comparison),
        across=[svg for name, svg in drawn.items() if name.startswith(_ACROSS)],
        legend=format_legend(comparison) + ([STAR] if has_star(comparison) else []),
        left_out=left_out_cells(comparison),
    )


def _figures_of(drawn: Mapping[str, str], number: int, comparison: ComparedRuns) -> list[str]:
    """The figures of one table. Their names end in its number where there are several tables."""
    if len(comparison.tables) == 1:
        return [svg for name, svg in drawn.items() if not name.startswith(_ACROSS)]
    kinds = ("scores", "differences", "learning", "adaptation", "settings")
    names = tuple(f"{kind}_{number + 1}" for kind in kinds)
    return [svg for name, svg in drawn.items() if name.partition("_map")[0] in names]


def _section(table: Table, figures: Sequence[str]) -> dict[str, Any]:
    tables = [
        ("What it cost", costs_cells(table)),
        ("Every pair", pairs_cells(table)),
        ("Hardest classes", classes_cells(table)),
        ("What differs between the rows", settings_cells(table)),
    ]
    star = f" {STAR}" if table.has_star else ""
    return {
        "title": table.title,
        "sentences": format_headline(table),
        "warnings": format_pooled_warnings(table),
        "scores": compact_cells(table),
        "best": _best(table),
        "note": f"{table.n_episodes:,} test episodes, bank {table.bank[:12]}.{star}",
        "figures": figures,
        "tables": [(heading, cells) for heading, cells in tables if cells.rows],
    }


def _best(table: Table) -> list[bool]:
    """For each row, whether it is ranked and no row is significantly better."""
    beaten = {pair.second if table.lead(pair).mean > 0 else pair.first for pair in table.pairs if pair.significant}
    return [row.rank is not None and index not in beaten for index, row in enumerate(table.rows)]
