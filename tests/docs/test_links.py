"""Links of all pages lead to files, and to headings that GitHub and the site of mkdocs both spell in this way."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(path for place in ("docs", "examples", "benchmarks") for path in sorted((ROOT / place).rglob("*.md"))),
]
_FENCE = re.compile(r"^(`{3,})[^\n]*\n.*?^\1$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]*))?\)")


def of_github(heading: str) -> str:
    """The anchor of a heading on GitHub: every space is a dash, also those beside a letter that is left out."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def of_mkdocs(heading: str) -> str:
    """The anchor of a heading on the site, by the rule of Python-Markdown: spaces and dashes in a row are one dash."""
    ascii_only = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())


def anchors(text: str) -> set[str]:
    """The anchors of a page that are the same on GitHub and on the site. A heading given twice has none."""
    headings = re.findall(r"^#{1,6} +(.*?)(?: +#+)?$", _FENCE.sub("", text), re.MULTILINE)
    shown = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "") for heading in headings]
    both = Counter(of_github(heading) for heading in shown if of_github(heading) == of_mkdocs(heading))
    return {anchor for anchor, times in both.items() if times == 1}


def broken(page: Path) -> list[str]:
    """The links of a page that lead to no file, or to no heading of both spellings."""
    found = []
    for target, anchor in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        file = page.parent / target if target else page
        if not file.exists():
            found.append(target)
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text(encoding="utf-8")):
            found.append(f"{target}#{anchor}")
    return found


def test_links_lead_to_files_and_to_headings_of_both_spellings() -> None:
    assert len(PAGES) > 100
    assert {str(page.relative_to(ROOT)): links for page in PAGES if (links := broken(page))} == {}


@pytest.mark.parametrize(
    ("heading", "github", "mkdocs"),
    [
        ("Points from W&B", "points-from-wb", "points-from-wb"),
        ("With Weights & Biases", "with-weights--biases", "with-weights-biases"),
        ("Steps - and more", "steps---and-more", "steps-and-more"),
        ("From Ω to naïve", "from-ω-to-naïve", "from-to-naive"),
        ("The key train.steps, 10_000", "the-key-trainsteps-10_000", "the-key-trainsteps-10_000"),
    ],
)
def test_the_two_spellings(heading: str, github: str, mkdocs: str) -> None:
    assert (of_github(heading), of_mkdocs(heading)) == (github, mkdocs)
    markdown = pytest.importorskip("markdown.extensions.toc")
    assert markdown.slugify(heading, "-") == mkdocs


def test_a_link_that_leads_nowhere_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A & B\n\n## `code` and [more](else.md)\n\n## Twice\n\n## Twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "## Here\n[a](there.md) [b](there.md#code-and-more) [c](#here) [d](https://x.y/z#w)\n```\n[e](none.md)\n```\n"
        "[f](gone.md) [g](there.md#a--b) [h](there.md#a-b) [i](there.md#twice) [j](#gone)\n"
    )
    assert broken(page) == ["gone.md", "there.md#a--b", "there.md#a-b", "there.md#twice", "#gone"]
