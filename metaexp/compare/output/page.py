"""A comparison as one HTML file that needs no server and no network.

Every name is escaped, and should one get through, the page's policy runs no script but its own, which it knows by
its hash, and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

from metaexp.compare.comparison import Comparison, Table
from metaexp.compare.output import cells as k
from metaexp.compare.output import svg
from metaexp.compare.output.documents import has_star
from metaexp.compare.output.escape import for_html
from metaexp.compare.output.figures import Figure
from metaexp.compare.output.wording import headline, legend


def to_html(comparison: Comparison, figures: Sequence[Figure]) -> str:
    """The page. ``figures``: those of :func:`metaexp.compare.output.figures.figures`."""
    script, style = _resource("page.js"), _resource("page.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )
    title = for_html(comparison.title)
    sections = [
        _section(table, _figures_of(figures, number, comparison)) for number, table in enumerate(comparison.tables)
    ]
    across = [figure for figure in figures if figure.name.startswith(("shots_", "ways_"))]
    if across:
        sections.append(f"<section><h2>Across tasks</h2>{_figures(across)}</section>")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1>
<p class="command"><code>{for_html(comparison.command)}</code></p></header>
<main>
{"".join(sections)}
{_reading(comparison)}
{_left_out(comparison)}
</main>
<div id="tip" role="status" hidden></div>
<script>{script}</script>
</body>
</html>
"""


def _resource(name: str) -> str:
    return resources.files("metaexp.compare.output").joinpath(name).read_text("utf-8")


def _figures_of(figures: Sequence[Figure], number: int, comparison: Comparison) -> list[Figure]:
    """Those of one table: their names end in its number, where there is more than one."""
    if len(comparison.tables) == 1:
        return [figure for figure in figures if not figure.name.startswith(("shots_", "ways_"))]
    names = {f"{kind}_{number + 1}" for kind in ("scores", "differences", "learning", "adaptation")}
    return [figure for figure in figures if figure.name in names]


def _section(table: Table, figures: Sequence[Figure]) -> str:
    sentences = "".join(f"<li>{for_html(sentence)}</li>" for sentence in headline(table))
    warnings = "".join(f'<p class="warning">{for_html(text)}</p>' for text in k.pooled(table))
    note = f"Test bank {table.bank[:12]}, {table.n_episodes:,} episodes."
    star = f" {k.STAR}" if table.has_star else ""
    parts = [
        f'<section><h2>{for_html(table.title)}</h2><ul class="answer">{sentences}</ul>{warnings}',
        _table(k.compact(table), mark_best=True),
        f'<p class="note">{for_html(note + star)}</p>',
        _figures(figures, f"{table.title}: "),
    ]
    for heading, cells in (
        ("What it cost", k.costs(table)),
        ("Every pair", k.pairs(table)),
        ("What differs between the rows", k.settings(table)),
    ):
        if cells.rows:
            note = f'<p class="note">{for_html(cells.note)}</p>' if cells.note else ""
            parts.append(f"<h3>{heading}</h3>{_table(cells)}{note}")
    return "".join([*parts, "</section>"])


def _table(cells: k.Cells, mark_best: bool = False) -> str:
    head = "".join(
        f'<th scope="col"{_number(column)}><button type="button">{for_html(column.name)}</button></th>'
        for column in cells.columns
    )
    lines = []
    for row in cells.rows:
        best = ' class="best"' if mark_best and row[0].value == 1 else ""
        lines.append(f"<tr{best}>{''.join(map(_cell, row, cells.columns))}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _number(column: k.Column) -> str:
    return ' class="n"' if column.is_number else ""


def _cell(cell: k.Cell, column: k.Column) -> str:
    name = "n" if column.is_number else "t"
    value = f' data-v="{cell.value!r}"' if cell.value is not None else ""
    below = f'<span class="below">{for_html(cell.below)}</span>' if cell.below else ""
    return f'<td class="{name}"{value}>{for_html(cell.text)}{below}</td>'


def _figures(figures: Sequence[Figure], known: str = "") -> str:
    """``known``: the beginning of titles that the heading above says already."""
    if not figures:
        return ""
    drawn = []
    for figure in figures:
        title = figure.title.removeprefix(known)
        title = title[:1].upper() + title[1:] if title != figure.title else title
        caption = f"<figcaption>{for_html(figure.note)}</figcaption>"
        drawn.append(f"<figure><h3>{for_html(title)}</h3>{svg.draw(figure)}{caption}</figure>")
    return f'<div class="figures">{"".join(drawn)}</div>'


def _reading(comparison: Comparison) -> str:
    lines = legend(comparison) + ([k.STAR] if has_star(comparison) else [])
    items = "".join(f"<li>{for_html(line)}</li>" for line in lines)
    return f'<section><h2>How to read this</h2><ul class="legend">{items}</ul></section>'


def _left_out(comparison: Comparison) -> str:
    if not comparison.left_out:
        return ""
    return f"<section><h2>Left out</h2>{_table(k.left_out(comparison))}</section>"
