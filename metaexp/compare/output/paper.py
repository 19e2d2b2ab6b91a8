"""A comparison for a paper: tables that fit a column, a bibliography, an appendix of settings, a page to compile."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from metaexp.compare.comparison import ComparedRuns, RowResult, Table
from metaexp.compare.output.escape import escape_latex
from metaexp.compare.output.fairness import format_unlike
from metaexp.compare.output.figure_data import FigureData
from metaexp.compare.output.paper_figures import draw_paper
from metaexp.compare.rows import format_yaml_value, settings
from metaexp.compare.statistics.pairs import Estimate
from metaexp.core.metric import decimals, format_digits, format_metric_name, is_hit_rate
from metaexp.results.display.names import ALGORITHMS, papers_of, to_bibtex
from metaexp.results.display.wording import NOTHING
from metaexp.results.privacy import clean_text

_HIDDEN = (
    "paths.",
    "tracker",
    "tags",
    "notes",
    "name",
    "group",
    "seed",
    "device.threads",
    "device.accelerator",
    "own_code",
)
_MOST_TASKS = 6
"""More tasks do not fit beside each other on a page."""
_MOST_LINES = 20
"""Lines of a table that fit on a page, each with a name that takes two."""
_LONG_WORD = 20
"""Letters of a word that fit into a column."""


def paper_files(comparison: ComparedRuns, figures: Sequence[FigureData]) -> dict[str, bytes | str]:
    """Return the files for a paper: those of :func:`format_paper`, and each figure as PDF and SVG at two widths.

    Args:
        comparison: What they show.
        figures: Its figures.

    Returns:
        Name -> content.
    """
    drawn: dict[str, bytes] = {}
    for figure in figures:
        drawn |= draw_paper(figure)
    return {**format_paper(comparison, figures), **drawn}


def format_paper(comparison: ComparedRuns, figures: Sequence[FigureData]) -> dict[str, str]:
    """Return tables, appendix, bibliography, and a page to compile that has all of it.

    Args:
        comparison: What they show.
        figures: Its figures, which the page includes.

    Returns:
        Name -> content.
    """
    algorithms = [run.record.algorithm for table in comparison.tables for row in table.rows for run in row.runs]
    return {
        "paper-table.tex": to_tables(comparison),
        "paper-appendix.tex": to_appendix(comparison),
        "paper-references.bib": to_bibtex(papers_of(algorithms)),
        "paper.tex": to_document(comparison, figures, algorithms),
    }


def to_tables(comparison: ComparedRuns) -> str:
    """Return a table for each task, as wide as a column, and one of all tasks where there are several."""
    parts = ["% \\usepackage{booktabs}, \\usepackage{array} and \\usepackage[T1]{fontenc}"]
    parts += [_format_table(table, label) for table, label in zip(comparison.tables, _labels(comparison), strict=True)]
    shared = [table for table in comparison.tables if table.metric == comparison.tables[0].metric]
    if 1 < len(shared) <= _MOST_TASKS:
        parts.append(_format_all_tasks(shared, format_unlike(comparison, shared[0].metric)))
    return "\n\n".join(parts) + "\n"


def _labels(comparison: ComparedRuns) -> list[str]:
    names = [re.sub(r"[^a-z0-9]+", "-", table.title.lower()).strip("-") for table in comparison.tables]
    return [
        name if names.count(name) == 1 else f"{name}-{names[: place + 1].count(name)}"
        for place, name in enumerate(names)
    ]


def _format_table(table: Table, label: str) -> str:
    lines = [rf"{_format_name(row.name)} & {_format_score(table, row)} \\" for row in table.rows]
    head = rf"Algorithm & {escape_latex(_format_measured(table))} \\"
    form = r"@{}>{\raggedright\arraybackslash}p{0.56\columnwidth}r@{}"
    return _format_float("table", _format_caption(table), f"tab:{label}", form, head, lines)


def _format_all_tasks(tables: Sequence[Table], unlike: str) -> str:
    """Algorithms in rows, tasks in columns; ``unlike`` says which have other settings on other tasks."""
    names = list(dict.fromkeys(row.name for table in tables for row in table.rows))
    found = [{row.name: _format_score(table, row) for row in table.rows} for table in tables]
    lines = [rf"{_format_name(name)} & {' & '.join(cells.get(name, '--') for cells in found)} \\" for name in names]
    head = rf"Algorithm & {' & '.join(escape_latex(table.title) for table in tables)} \\"
    width = 0.96 / (len(tables) + 1.6)
    column = rf">{{\raggedleft\arraybackslash}}p{{{width:.3f}\textwidth}}"
    form = rf"@{{}}>{{\raggedright\arraybackslash}}p{{{1.3 * width:.3f}\textwidth}}{column * len(tables)}@{{}}"
    caption = f"{_format_measured(tables[0])} on {len(tables)} tasks. {_format_legend(tables)} {unlike}".rstrip()
    return _format_float("table*", escape_latex(caption), "tab:all-tasks", form, head, lines)


def _format_float(kind: str, caption: str, label: str, form: str, head: str, lines: Sequence[str]) -> str:
    """A table; of many lines, several under one number, since a float is never broken over pages."""
    n_parts = -(-len(lines) // _MOST_LINES) or 1
    size = -(-len(lines) // n_parts) or 1
    parts = []
    for begin in range(0, max(len(lines), 1), size):
        title = [rf"\caption{{{caption}}}", rf"\label{{{label}}}"]
        if begin:
            title = [r"\addtocounter{table}{-1}", r"\caption{(continued)}"]
        parts += [
            rf"\begin{{{kind}}}", r"\centering", r"\small", r"\setlength{\tabcolsep}{3pt}",
            r"\renewcommand{\arraystretch}{1.3}", *title, rf"\begin{{tabular}}{{{form}}}", r"\toprule", head,
            r"\midrule", *lines[begin : begin + size], r"\bottomrule", r"\end{tabular}", rf"\end{{{kind}}}",
        ]  # fmt: skip
    return "\n".join(parts)


def _format_measured(table: Table) -> str:
    what = format_metric_name(table.metric)
    return f"Test {what} (%)" if is_hit_rate(table.metric) else f"Test {what}"


def _format_caption(table: Table) -> str:
    where = f"{_format_measured(table)} on {table.title}, on the same {table.n_episodes:,} test episodes for all."
    return escape_latex(f"{where} {_format_legend([table])}")


def _format_legend(tables: Sequence[Table]) -> str:
    """How to read the numbers: the interval, what is bold, what the mark means, and rows of one seed."""
    seeds = {len(row.runs) for table in tables for row in table.rows}
    several = f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else str(max(seeds))
    one = [row for table in tables for row in table.single_seed_rows]
    sentences = []
    if seeds == {1}:
        sentences.append("One seed each: 95 % intervals over episodes, about these weights and not the algorithms.")
    else:
        sentences.append(f"Means over {several} seeds with 95 % intervals.")
        if one:
            sentences.append("An asterisk marks one seed, with the interval over episodes.")
    if any(_is_best(table, row) for table in tables for row in table.rows):
        sentences.append("Best mean in bold.")
    if any(_is_tied(table, row) for table in tables for row in table.rows):
        sentences.append("A dagger marks what does not differ significantly from the best (paired, Holm, 0.05).")
    return " ".join(sentences)


def _is_best(table: Table, row: RowResult) -> bool:
    """Whether a row is bold: the best mean of rows with several seeds."""
    ranked = [other for other in table.rows if len(other.runs) > 1]
    return len(ranked) > 1 and row is ranked[0]


def _is_tied(table: Table, row: RowResult) -> bool:
    """Whether a row with several seeds cannot be told apart from the best."""
    if row.to_best is None or len(row.runs) < 2 or not any(_is_best(table, other) for other in table.rows):
        return False
    return not table.pairs[row.to_best].significant


def _format_score(table: Table, row: RowResult) -> str:
    """A mean with its interval in mathematics, bold or marked."""
    estimate = row.estimate
    scale, form = (100.0, ".2f") if is_hit_rate(table.metric) else (1.0, f".{_places(estimate)}f")
    mean = format(estimate.mean * scale, form)
    number = rf"\mathbf{{{mean}}}" if _is_best(table, row) else mean
    mark = r"{}^{\dagger}" if _is_tied(table, row) else "{}^{*}" if _is_one_of_several(table, row) else ""
    return f"${number}{_format_interval(estimate, scale, form)}{mark}$"


def _places(estimate: Estimate) -> int:
    """Decimals of an error, so that the shorter side of its interval has two digits; of one without, three digits."""
    ends = [abs(end - estimate.mean) for end in (estimate.low, estimate.high) if end is not None]
    return decimals(min(ends)) if ends else len(format_digits(estimate.mean).partition(".")[2])


def _is_one_of_several(table: Table, row: RowResult) -> bool:
    return len(row.runs) == 1 and len(table.single_seed_rows) < len(table.rows)


def _format_interval(estimate: Estimate, scale: float, form: str) -> str:
    """The interval as plus and minus, or with two ends where they differ."""
    if estimate.low is None or estimate.high is None:
        return ""
    below = format((estimate.mean - estimate.low) * scale, form)
    above = format((estimate.high - estimate.mean) * scale, form)
    if below == above:
        return rf" \pm {below}"
    return rf"\,{{}}^{{+{above}}}_{{-{below}}}"


def to_appendix(comparison: ComparedRuns) -> str:
    """Return every setting: for each task those that all rows share, then those of each row. One column wide."""
    parts = [
        "% \\usepackage{longtable,array,booktabs}; in a two-column page after \\onecolumn",
        r"\section{Settings}",
    ]
    for table in comparison.tables:
        per_row = [_settings_of(row) for row in table.rows]
        keys = list(dict.fromkeys(key for values in per_row for key in values))
        shared = [key for key in keys if len({values.get(key, NOTHING) for values in per_row}) == 1]
        title = f"{table.title}: settings of all rows" if len(table.rows) > 1 else f"{table.title}: settings"
        parts.append(_format_long_table(title, [(key, per_row[0].get(key, NOTHING)) for key in shared]))
        for row, values in zip(table.rows, per_row, strict=True):
            own = [(key, values[key]) for key in keys if key not in shared and key in values]
            seeds = ("seeds", ", ".join(map(str, row.seeds)))
            parts.append(_format_long_table(f"{table.title}: {row.name}", [seeds, *own]))
    return "\n\n".join(parts) + "\n"


def _settings_of(row: RowResult) -> dict[str, str]:
    """Key -> value, or values, of the runs of a row."""
    leaves: list[dict[str, Any]] = [settings(run.record) for run in row.runs]
    keys = dict.fromkeys(key for leaf in leaves for key in leaf if not key.startswith(_HIDDEN))
    return {
        key: clean_text(", ".join(dict.fromkeys(format_yaml_value(leaf.get(key, NOTHING)) for leaf in leaves)))
        for key in keys
    }


def _format_long_table(title: str, lines: Sequence[tuple[str, str]]) -> str:
    rows = [rf"\texttt{{{_breakable(key)}}} & {_breakable(value)} \\" for key, value in lines]
    form = r"@{}>{\raggedright\arraybackslash}p{0.47\linewidth}>{\raggedright\arraybackslash}p{0.47\linewidth}@{}"
    head = r"Setting & Value \\"
    return "\n".join(
        [
            r"\par\ifdim\dimexpr\pagegoal-\pagetotal\relax<8\baselineskip\newpage\fi",  # no heading ends a page
            rf"\subsection*{{{escape_latex(title)}}}", rf"\begin{{longtable}}{{{form}}}", r"\toprule", head,
            r"\midrule", r"\endhead", *rows, r"\bottomrule", r"\end{longtable}",
        ]
    )  # fmt: skip


def _format_name(name: str) -> str:
    """A name whose words may be broken if they are too long for a column."""
    return " ".join(_breakable(word) if len(word) > _LONG_WORD else escape_latex(word) for word in name.split(" "))


def _breakable(text: str) -> str:
    """Text that may be broken after the dots, commas and underscores of a key, and in very long words."""
    escaped = [" " if letter.isspace() else escape_latex(letter) for letter in text]
    return "".join(
        f"{letters}\\allowbreak{{}}" if letter in "._,/-" or (i % 24 == 23) else letters
        for i, (letter, letters) in enumerate(zip(text, escaped, strict=True))
    )


def to_document(comparison: ComparedRuns, figures: Sequence[FigureData], algorithms: Sequence[str]) -> str:
    """Return a two-column page with all of it: ``pdflatex paper && bibtex paper && pdflatex paper``, twice.

    Args:
        comparison: What it shows.
        figures: Its figures.
        algorithms: Those that ran, which are cited.
    """
    cited = [
        f"{escape_latex(ALGORITHMS[name].name)}~\\cite{{{paper.key}}}"
        for name in dict.fromkeys(algorithms)
        if name in ALGORITHMS and (paper := ALGORITHMS[name].paper) is not None
    ]
    drawn = [_format_figure(figure, "figure", r"\columnwidth", "1col") for figure in figures]
    wide = [_format_figure(figure, "figure*", r"\textwidth", "2col") for figure in figures[:1]]
    head = [
        r"\documentclass[twocolumn,10pt]{article}", r"\usepackage[T1]{fontenc}", r"\usepackage[utf8]{inputenc}",
        r"\usepackage{booktabs}", r"\usepackage{array}", r"\usepackage{longtable}", r"\usepackage{graphicx}",
        r"\usepackage{textcomp}", r"\usepackage[margin=0.75in,columnsep=0.25in]{geometry}",
        rf"\title{{{escape_latex(comparison.title)}}}", r"\author{}", r"\date{}", r"\begin{document}", r"\maketitle",
    ]  # fmt: skip
    body = [f"The algorithms are {', '.join(cited)}."] if cited else []
    end = [
        *([r"\bibliographystyle{plain}", r"\bibliography{paper-references}"] if cited else []), r"\onecolumn",
        r"\appendix", r"\input{paper-appendix}", r"\end{document}",
    ]  # fmt: skip
    return "\n".join([*head, *body, r"\input{paper-table}", *drawn, *wide, r"\clearpage", *end]) + "\n"


def _format_figure(figure: FigureData, kind: str, width: str, size: str) -> str:
    return "\n".join(
        [
            rf"\begin{{{kind}}}", r"\centering",
            rf"\includegraphics[width={width},height=0.8\textheight,keepaspectratio]{{paper-{figure.name}-{size}.pdf}}",
            rf"\caption{{{escape_latex(f'{figure.title}. {figure.note}')}}}",
            rf"\label{{fig:{figure.name}{'-wide' if kind.endswith('*') else ''}}}", rf"\end{{{kind}}}",
        ]
    )  # fmt: skip
