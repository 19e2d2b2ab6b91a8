"""Write the measurements of data into docs/adding-a-dataset.md, from their record. No number of those tables is typed.

python benchmarks/data_page.py --page docs/adding-a-dataset.md [--check]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pages import page_parser, write_page

from metaexp.results.display.markdown import between_markers, format_table
from metaexp.results.display.wording import NOTHING

RECORD = Path(__file__).resolve().parent / "records" / "data.json"
STAND_INS = ("mini_imagenet",)
"""What benchmarks/data.py measures with made-up images."""
Found = Mapping[str, Any]


def datasets(found: Found) -> str:
    """Seconds to prepare and to load again, and episodes a second, of each dataset."""
    rows = [
        [
            f"`{name}`{' (stand-in)' if name in STAND_INS else ''}",
            _number(result.get("prepare"), ".1f"),
            _number(result.get("again"), ".2f"),
            _number(result.get("memory"), ",.0f"),
            _number(result.get("disk"), ",.0f"),
            _ratio(result),
        ]
        for name, result in found["results"].items()
    ]
    header = ["dataset", "prepare, s", "load again, s", "episodes/s in memory", "episodes/s from disk", "disk / memory"]
    return format_table(header, rows, right=(1, 2, 3, 4, 5))


def large(found: Found) -> str:
    """A made-up set that is larger than what may be in memory, against a smaller one in memory."""
    of = found["large"]
    rows = [
        [
            f"{of['gb_in_memory' if name == 'in_memory' else 'gb']:.0f} GB, {where}",
            f"{result['load']:.2f}" if result["load"] < 1 else f"{result['load']:.0f}",
            f"{result['cold']:.0f}",
            f"{result['warm']:.0f}",
            f"{result['peak_mb'] - result['before_mb']:,.0f}",
        ]
        for name, where in (
            ("in_memory", "in memory"),
            ("prepare", "on disk, first load"),
            ("again", "on disk, loaded again"),
        )
        for result in [of[name]]
    ]
    header = ["images", "load, s", "episodes/s at first", "episodes/s then", "memory of the process, MB"]
    beside = f"Measured in turns in one process, the rate from disk is {_ratio(of)} of that in memory."
    return f"{format_table(header, rows, right=(1, 2, 3, 4)).strip()}\n\n{beside}"


def _ratio(result: Found) -> str:
    """The rate from disk in rates from memory, with quartiles over rounds that have both."""
    if result.get("ratio") is None:
        return NOTHING
    return f"{result['ratio']:.2f} ({result['low']:.2f} to {result['high']:.2f})"


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def on_page(text: str, found: Found) -> str:
    """Return the text of the page with the tables of a record."""
    note = f"Measured with {found['machine']['threads']} thread: {found['note']}."
    text = between_markers(text, "data", f"{datasets(found).strip()}\n\n{note}")
    return between_markers(text, "large-data", large(found))


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or say whether it is up to date; exit code 0, or 1 where it is not."""
    options = page_parser(__doc__, "docs/adding-a-dataset.md").parse_args(arguments)
    return write_page(options, lambda text: on_page(text, json.loads(RECORD.read_bytes())))


if __name__ == "__main__":
    sys.exit(main())
