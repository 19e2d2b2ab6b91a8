"""The data card says what the packaged lists say."""

from __future__ import annotations

from pathlib import Path

from metaexp.core.shapes import SPLITS
from metaexp.data.icons.card import fill_tables, format_counts, format_licences, main
from metaexp.data.icons.lists import classes

PAGE = Path(__file__).parents[3] / "docs" / "icons-and-emoji.md"


def test_the_tables_of_the_page_are_those_of_the_lists(tmp_path: Path) -> None:
    """When this fails, run `python -m metaexp.data.icons.card docs/icons-and-emoji.md` and commit what it writes."""
    text = PAGE.read_text(encoding="utf-8")
    assert fill_tables(text) == text
    copy = tmp_path / "page.md"
    copy.write_text(text.replace("| MIT |", "| GPL |"))
    assert copy.read_text() != text
    main(copy)
    assert copy.read_text() == text


def test_the_tables_count_classes_and_mark_what_is_not_permissive() -> None:
    found = classes("icons", "random", "permissive", 15)
    n_classes, n_drawings = sum(map(len, found.values())), sum(sum(of.values()) for of in found.values())
    sizes = " / ".join(str(len(found[split])) for split in SPLITS)
    assert f"| `icons` | `permissive` | 15 | {n_classes:,} | {n_drawings:,} | {sizes} |" in format_counts()
    emoji = format_licences("emoji").splitlines()
    assert any(line.startswith("| noto | noto, noto-v1 | Apache-2.0 | ") for line in emoji)
    assert any("| openmoji | CC-BY-SA-4.0 (only with `licences=all`) |" in line for line in emoji)
