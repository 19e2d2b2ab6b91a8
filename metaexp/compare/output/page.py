"""A comparison as one HTML file that needs no server and no network.

The template escapes every text. As a second barrier, the page's content security policy allows only its own script,
by its hash, and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from metaexp.compare.comparison import Comparison, Table
from metaexp.compare.output.cells import (
    STAR,
    compact_cells,
    costs_cells,
    left_out_cells,
    pairs_cells,
    pooled_warnings,
    settings_cells,
)
from metaexp.compare.output.documents import has_star
from metaexp.compare.output.wording import headline, legend
from metaexp.core.terminal_text import plain

_ACROSS = ("shots_", "ways_")


def to_html(comparison: Comparison, drawn: Mapping[str, str]) -> str:
    """Return the page of a comparison.

    Args:
        comparison: What it shows.
        drawn: The ``<svg>`` element of every figure, by its name.
    """
    import jinja2  # only the page needs it

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=jinja2.FunctionLoader(_resource), finalize=_plain,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    script = _resource("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )
    page = environment.get_template("page.html.j2").render(
        title=comparison.title,
        command=comparison.command,
        policy=policy,
        style=_resource("page.css"),
        script=script,
        sections=[
            _section(table, _figures_of(drawn, number, comparison)) for number, table in enumerate(comparison.tables)
        ],
        across=[svg for name, svg in drawn.items() if name.startswith(_ACROSS)],
        legend=legend(comparison) + ([STAR] if has_star(comparison) else []),
        left_out=left_out_cells(comparison),
    )
    return f"{page.rstrip()}\n"


def _plain(value: Any) -> Any:
    """Texts in one line without control characters, numbers in full; jinja2 calls this on every value it prints."""
    if type(value) is str:
        return plain(value)
    return repr(value) if isinstance(value, float) else value


def _resource(name: str) -> str:
    return resources.files("metaexp.compare.output").joinpath(name).read_text("utf-8")


def _figures_of(drawn: Mapping[str, str], number: int, comparison: Comparison) -> list[str]:
    """The figures of one table. Their names end in its number where there are several tables."""
    if len(comparison.tables) == 1:
        return [svg for name, svg in drawn.items() if not name.startswith(_ACROSS)]
    names = {f"{kind}_{number + 1}" for kind in ("scores", "differences", "learning", "adaptation")}
    return [svg for name, svg in drawn.items() if name in names]


def _section(table: Table, figures: Sequence[str]) -> dict[str, Any]:
    tables = [
        ("What it cost", costs_cells(table)),
        ("Every pair", pairs_cells(table)),
        ("What differs between the rows", settings_cells(table)),
    ]
    star = f" {STAR}" if table.has_star else ""
    return {
        "title": table.title,
        "sentences": headline(table),
        "warnings": pooled_warnings(table),
        "scores": compact_cells(table),
        "note": f"Test bank {table.bank[:12]}, {table.n_episodes:,} episodes.{star}",
        "figures": figures,
        "tables": [(heading, cells) for heading, cells in tables if cells.rows],
    }
