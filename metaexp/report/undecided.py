"""A table of undecided rows, for the page about rows that do not come out: what further seeds could decide."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from metaexp.core.metric import format_digits
from metaexp.report.rows import Entry, format_title
from metaexp.results.display.markdown import between_markers, format_table
from metaexp.results.display.wording import format_marked
from metaexp.results.record import Reference, Score
from metaexp.results.verdict import half_width_of_any_seeds, margin, reproduction_verdict

_TITLES = ("row", "published", "margin", "difference", "tasks and published number", "any number of seeds")


def with_undecided_rows(text: str, rows: Sequence[Entry], link: str) -> str:
    """Return the text of a page with the table of undecided rows.

    Args:
        text: The page, with the markers of the table.
        rows: The rows of the results.
        link: Leads from the page to the folder of results.

    Raises:
        RunFolderError: The page has no such markers.
    """
    lines = [_line(row, link) for row in rows if row.record.verdict and row.record.verdict.kind == "undecided"]
    return between_markers(text, "undecided", format_table(_TITLES, lines, right=(1, 2, 3, 4)))


def _line(row: Entry, link: str) -> list[str]:
    test, reference, verdict = score_over_episodes(row), row.record.reference, row.record.verdict
    assert reference is not None
    assert verdict is not None
    scale, unit = (100.0, " points") if test.metric == "accuracy" else (1.0, "")
    numbers = (margin(reference), abs(verdict.difference), half_width_of_any_seeds(test, reference))
    return [
        f"[{format_title(row)}]({link}/{row.page})",
        format_marked(reference),
        *(f"{format_digits(scale * number)}{unit}" for number in numbers),
        with_any_seeds(test, reference),
    ]


def score_over_episodes(row: Entry) -> Score:
    """Return the score of a row with the interval over its test episodes, which all seeds share.

    Args:
        row: A row that was tested.
    """
    assert row.record.test is not None
    tests = [entry.record.test for entry in row.seeds or (row,) if entry.record.test is not None]
    return dataclasses.replace(row.record.test, ci95=math.fsum(test.ci95 for test in tests) / len(tests))


def with_any_seeds(test: Score, reference: Reference) -> str:
    """Return what would be shown if any number of seeds gave the same mean: ``equal``, ``different`` or ``neither``.

    Args:
        test: The mean, with the interval over test episodes.
        reference: The published number.
    """
    verdict = reproduction_verdict(test, dataclasses.replace(reference, steps=None), 0, None)  # as of a whole training
    return {"within": "equal", "not_reproduced": "different"}.get("" if verdict is None else verdict.kind, "neither")
