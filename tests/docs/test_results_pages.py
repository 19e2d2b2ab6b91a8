"""The results in README.md and docs/results are what the committed records give."""

from __future__ import annotations

from pathlib import Path

from metaexp.results.publish import clean_text
from metaexp.results.report import MARKER, read_entries
from metaexp.runner.cli_report import is_current, main

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"


def test_the_generated_pages_are_up_to_date() -> None:
    """When this fails, run `metaexp report` and commit what it writes."""
    assert main(["--check", "--root", str(ROOT)]) == 0


def test_a_number_typed_into_the_readme_is_found(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "results").symlink_to(RESULTS)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    end = f"<!-- {MARKER}:end -->"
    (tmp_path / "README.md").write_text(text.replace(end, f"| mine | 99.9 % |\n{end}"), encoding="utf-8")
    assert main(["--check", "--root", str(tmp_path)]) == 2


def test_committed_records_name_no_machine() -> None:
    private = str(Path.home())
    for path in RESULTS.rglob("*"):
        if path.suffix in {".json", ".jsonl", ".yaml", ".csv"}:
            text = path.read_text(encoding="utf-8")
            assert clean_text(text) == text, path
            assert private not in text, path


def test_no_committed_record_is_stale() -> None:
    """An experiment that changes after its run was published must be run again, or its record removed."""
    assert [entry.name for entry in read_entries(RESULTS, is_current) if entry.stale] == []
