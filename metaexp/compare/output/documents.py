"""A comparison as terminal text, Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from metaexp.compare.comparison import ComparedRuns, Table
from metaexp.compare.output.cells import (
    STAR,
    Cells,
    compact_cells,
    costs_cells,
    format_pooled_warnings,
    left_out_cells,
    pairs_cells,
    scores_cells,
    settings_cells,
    tasks_cells,
    time_cells,
)
from metaexp.compare.output.classes import CLASSES_TABLE, HEADER, class_lines, classes_cells
from metaexp.compare.output.escape import escape_csv, escape_latex, escape_markdown
from metaexp.compare.output.terminal_table import print_table
from metaexp.compare.output.wording import format_headline, format_legend
from metaexp.core.terminal_text import plain
from metaexp.results.display.markdown import format_table


def print_comparison(comparison: ComparedRuns, console: Console) -> None:
    """Print the sentences, scores and costs of every group, the differences in settings, and what was left out.

    Args:
        comparison: What to print.
        console: The terminal to print on.
    """
    for table in comparison.tables:
        console.print(Text(plain(table.title), style="bold"), soft_wrap=True)
        for sentence in format_headline(table):
            console.print(Text(plain(sentence)))
        _print(compact_cells(table), console)
        _print(costs_cells(table), console)
        if (hardest := classes_cells(table, most=5, columns=3)).rows:
            console.print(Text("Accuracy of the hardest classes:"))
            _print(hardest, console)
        fair = [item for item in table.differences if not item.own]
        if fair:
            console.print(Text("What differs between the rows (the settings of the algorithms are on the page):"))
            _print(settings_cells(replace(table, differences=fair)), console)
        for warning in format_pooled_warnings(table):
            console.print(Text(plain(warning), style="yellow"))
    if (across := tasks_cells(comparison)).rows:
        console.print(Text(across.title, style="bold"), soft_wrap=True)
        _print(across, console)
    if has_star(comparison):
        console.print(Text(STAR))
    for item in comparison.left_out:
        console.print(Text(f"left out: {plain(item.name)}: {plain(item.reason)}"), soft_wrap=True)


def _print(cells: Cells, console: Console) -> None:
    rows = []
    for row in cells.rows:
        texts = []
        for cell in row:
            text = Text(plain(cell.text))
            texts.append(text.append(f"\n{plain(cell.below)}", "dim") if cell.below else text)
        rows.append(texts)
    numbers = [i for i, column in enumerate(cells.columns) if column.is_number]
    print_table([plain(column.name) for column in cells.columns], rows, numbers, console)
    if cells.note:
        console.print(Text(plain(cells.note), style="dim"))


def has_star(comparison: ComparedRuns) -> bool:
    """Whether any interval is over episodes only."""
    return any(table.has_star for table in comparison.tables)


def to_markdown(comparison: ComparedRuns, figures: Mapping[str, str]) -> str:
    """Return a Markdown page with everything.

    Args:
        comparison: What it shows.
        figures: Title -> name of the file beside the page.
    """
    parts = [f"# {escape_markdown(comparison.title)}", f"```\n{plain(comparison.command).replace('```', '')}\n```"]
    for table in comparison.tables:
        parts.append(f"## {escape_markdown(table.title)}")
        parts.append(
            "\n".join(
                f"* {escape_markdown(sentence)}"
                for sentence in [*format_headline(table), *format_pooled_warnings(table)]
            )
        )
        parts += [
            _format_markdown(cells)
            for cells in (
                scores_cells(table),
                pairs_cells(table),
                costs_cells(table),
                classes_cells(table),
                settings_cells(table),
            )
            if cells.rows
        ]
    if (across := tasks_cells(comparison)).rows:
        parts.append(_format_markdown(across))
    if has_star(comparison):
        parts.append(escape_markdown(STAR))
    parts += [f"![{escape_markdown(title)}]({name})" for title, name in figures.items()]
    parts.append("## How to read this")
    parts.append("\n".join(f"* {escape_markdown(line)}" for line in format_legend(comparison)))
    if comparison.left_out:
        parts.append(_format_markdown(left_out_cells(comparison)))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _format_markdown(cells: Cells) -> str:
    right = [i for i, column in enumerate(cells.columns) if column.is_number]
    header = [escape_markdown(column.name).replace("|", "\\|") for column in cells.columns]
    body = [[escape_markdown(cell.text) for cell in row] for row in cells.rows]
    return f"### {escape_markdown(cells.title)}\n\n{format_table(header, body, right)}" + (
        f"\n{escape_markdown(cells.note)}\n" if cells.note else ""
    )


def to_csv(comparison: ComparedRuns) -> dict[str, str]:
    """Return ``rows.csv`` and ``pairs.csv`` by name, with numbers in full and accuracies as fractions.

    Where runs were tested with ``eval.metrics=[per_class]``, there is also ``classes.csv``.
    """
    rows = [
        "dataset", "n_way", "k_shot", "metric", "row", "rank", "rank_last", "mean", "low", "high", "over_seeds",
        "batch_norm", "gradient_order", "seeds", "episodes", "steps", "tasks_seen", "seconds", "episodes_per_second",
        "peak_memory_bytes", "parameters", "test_bank",
    ]  # fmt: skip
    pair_names = [
        "dataset", "n_way", "k_shot", "metric", "first", "second", "difference", "low", "high", "over_seeds", "p",
        "p_corrected", "episodes_needed", "seeds_needed", "pairing_narrows",
    ]  # fmt: skip
    classes = class_lines(comparison)
    return {
        **({CLASSES_TABLE: _format_csv([*HEADER], classes)} if classes else {}),
        "rows.csv": _format_csv(rows, [line for table in comparison.tables for line in _row_lines(table)]),
        "pairs.csv": _format_csv(pair_names, [line for table in comparison.tables for line in _pair_lines(table)]),
    }


Value = str | float | int | bool | None


def _row_lines(table: Table) -> list[list[Value]]:
    start: list[Value] = [table.dataset, table.n_way, table.k_shot, table.metric]
    return [
        [
            *start, row.label, row.rank, row.rank_last, row.estimate.mean, row.estimate.low, row.estimate.high,
            row.estimate.over_seeds, row.batch_norm, row.order, " ".join(map(str, row.seeds)), table.n_episodes,
            row.cost.steps, row.cost.tasks, row.cost.seconds, row.cost.episodes_per_second,
            row.cost.peak_memory_bytes, row.cost.n_parameters, table.bank,
        ]
        for row in table.rows
    ]  # fmt: skip


def _pair_lines(table: Table) -> list[list[Value]]:
    start: list[Value] = [table.dataset, table.n_way, table.k_shot, table.metric]
    return [
        [
            *start, table.rows[pair.first].label, table.rows[pair.second].label, pair.difference.mean,
            pair.difference.low, pair.difference.high, pair.difference.over_seeds, pair.p, pair.corrected,
            pair.required_sample.episodes if pair.required_sample else None,
            pair.required_sample.seeds if pair.required_sample else None, pair.pairing_gain,
        ]
        for pair in table.pairs
    ]  # fmt: skip


def _format_csv(header: list[str], lines: list[list[Value]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for line in lines:
        writer.writerow(
            [escape_csv(value) if isinstance(value, str) else "" if value is None else value for value in line]
        )
    return text.getvalue()


def to_latex(comparison: ComparedRuns) -> str:
    """Return a booktabs table for each group: rank, row, batch norm, order, mean, interval, difference, p and time."""
    parts = ["% \\usepackage{booktabs}, and \\usepackage[T1]{fontenc}"]
    for table in comparison.tables:
        cells = scores_cells(table)
        times = time_cells(table)
        keep = [i for i, column in enumerate(cells.columns) if column.name != "Episodes"]
        form = "".join("r" if cells.columns[i].is_number else "l" for i in keep) + "r"
        header = " & ".join([*(escape_latex(cells.columns[i].name) for i in keep), "Time"])
        lines = [
            " & ".join([*(escape_latex(row[i].text) for i in keep), escape_latex(times[n].text)]) + r" \\"
            for n, row in enumerate(cells.rows)
        ]
        caption = f"{table.title}, {table.n_episodes:,} test episodes. " + (STAR if table.has_star else "")
        parts.append(
            "\n".join(
                [
                    r"\begin{table}", r"\centering", f"\\caption{{{escape_latex(caption.strip())}}}",
                    f"\\begin{{tabular}}{{{form}}}", r"\toprule", header + r" \\", r"\midrule", *lines, r"\bottomrule",
                    r"\end{tabular}", r"\end{table}",
                ]
            )
        )  # fmt: skip
    return "\n\n".join(parts) + "\n"
