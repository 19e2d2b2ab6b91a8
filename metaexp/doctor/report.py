"""Prints the report of an examination on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from metaexp.doctor.examine import Section
from metaexp.doctor.finding import Finding, Verdict
from metaexp.doctor.tiny import SHAPES, Kind

_VERDICTS: dict[Verdict, str] = {"ok": "✓ ok", "wrong": "✗ WRONG", "does not apply": "-"}
_STYLES: dict[Verdict, str] = {"ok": "green", "wrong": "bold red", "does not apply": "dim"}
_TASKS: dict[Kind, str] = {
    "classification": f"classification, {SHAPES['classification'].n_way}-way {SHAPES['classification'].k_shot}-shot",
    "regression": f"regression, {SHAPES['regression'].k_shot}-shot",
}


class Part(NamedTuple):
    """What a report has under one heading.

    Attributes:
        heading: What was examined.
        findings: One for each check.
        refusal: Why the subject does not take this; empty if it does.
    """

    heading: str
    findings: list[Finding]
    refusal: str = ""


def print_report(title: str, sections: Sequence[Section], console: Console) -> None:
    """Print a line for each check under a heading for each kind of task, and a conclusion at the end.

    Args:
        title: What is checked.
        sections: The findings for each kind of task.
        console: The terminal.
    """
    parts = [Part(_TASKS[section.kind], section.findings, section.refusal) for section in sections]
    _print_parts(title, parts, format_conclusion(sections), console)


def print_parts(title: str, parts: Sequence[Part], console: Console) -> None:
    """Print a line for each check under each heading, and a conclusion at the end.

    Args:
        title: What is checked.
        parts: The findings under each heading.
        console: The terminal.
    """
    _print_parts(
        title,
        parts,
        _format_conclusion([(part.heading, finding) for part in parts for finding in part.findings]),
        console,
    )


def _print_parts(title: str, parts: Sequence[Part], end: str, console: Console) -> None:
    console.print(Text(title, "bold"))
    for part in parts:
        console.print()
        console.print(Text(part.heading, "bold"))
        if part.refusal:
            console.print(Padding(Text(f"does not apply: {part.refusal}", "dim"), (0, 0, 0, 2)))
            continue
        table = Table.grid(padding=(0, 2, 0, 0))
        for finding in part.findings:
            table.add_row(_verdict(finding.verdict, console), finding.name, _explained(finding))
        console.print(Padding(table, (0, 0, 0, 2)))
    console.print()
    console.print(Text(end, _STYLES["ok" if is_all_ok(parts) else "wrong"]), soft_wrap=True)


def format_conclusion(sections: Sequence[Section]) -> str:
    """Return one line that says that all is ok, or what is wrong."""
    return _format_conclusion([(section.kind, finding) for section in sections for finding in section.findings])


def _format_conclusion(findings: Sequence[tuple[str, Finding]]) -> str:
    bad = [f"{finding.name} ({heading})" for heading, finding in findings if finding.verdict == "wrong"]
    checked = sum(finding.verdict != "does not apply" for _, finding in findings)
    if bad:
        return f"{len(bad)} of {checked} checks found something wrong: {', '.join(bad)}"
    return f"all {checked} checks are ok"


def is_all_ok(sections: Sequence[Section | Part]) -> bool:
    """Whether nothing wrong was found."""
    return not any(finding.verdict == "wrong" for section in sections for finding in section.findings)


def format_measured(measured: Mapping[str, float]) -> str:
    """Return ``name value, name value``, whole numbers without a point."""
    return ", ".join(f"{name} {_number(value)}" for name, value in measured.items())


def _explained(finding: Finding) -> Text:
    applies = "" if finding.verdict != "does not apply" else "does not apply: "
    text = Text(applies + finding.sentence)
    if finding.measured:
        text.append(f" ({format_measured(finding.measured)})", "dim")
    return text


def _verdict(verdict: Verdict, console: Console) -> Text:
    shown = _VERDICTS[verdict]
    if not console.encoding.lower().startswith("utf"):
        shown = shown.split()[-1]  # without the sign
    return Text(shown, _STYLES[verdict], no_wrap=True)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e6 else f"{value:.2g}"
