"""The page about data shows what the record of the benchmark says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from programs import load_program

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "adding-a-dataset.md"
RECORD = ROOT / "benchmarks" / "records" / "data.json"


def test_the_page_is_that_of_the_record() -> None:
    page = load_program("benchmarks/data_page.py")
    text, found = PAGE.read_text(), json.loads(RECORD.read_text())
    assert page.on_page(text, found) == text, "run python benchmarks/data_page.py --page docs/adding-a-dataset.md"
    found["results"]["omniglot"]["memory"] *= 2
    assert page.on_page(text, found) != text
    found = json.loads(RECORD.read_text())
    found["results"]["fonts"]["ratio"] += 0.1
    assert page.on_page(text, found) != text
    found = json.loads(RECORD.read_text())
    found["large"]["again"]["warm"] *= 2
    assert page.on_page(text, found) != text


def test_a_stale_page_is_said_and_written_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = load_program("benchmarks/data_page.py")
    copy = tmp_path / "page.md"
    copy.write_text(PAGE.read_text().replace("episodes/s then", "something else"))
    assert page.main(["--page", str(copy), "--check"]) == 1
    assert "is stale" in capsys.readouterr().out
    assert page.main(["--page", str(copy)]) == 0
    assert copy.read_text() == PAGE.read_text()


def slower_than_the_goal(found: dict[str, Any]) -> list[str]:
    """What has fewer episodes a second from disk than the goal says, in rates from memory."""
    ratios = {name: row["ratio"] for name, row in found["results"].items()} | {"large": found["large"]["ratio"]}
    return [name for name, ratio in ratios.items() if ratio is not None and ratio < found["goal"]]


def test_examples_on_disk_are_made_into_episodes_at_half_the_rate_or_more() -> None:
    found = json.loads(RECORD.read_text())
    assert slower_than_the_goal(found) == []
    found["results"]["fonts"]["ratio"] = 0.46
    found["large"]["ratio"] = 0.49
    assert slower_than_the_goal(found) == ["fonts", "large"]
