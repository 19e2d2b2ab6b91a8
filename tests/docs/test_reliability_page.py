"""The page on reliability shows what the records of its harnesses say, and they say that nothing failed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from programs import load_program

from metaexp.core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
RECORDS = ROOT / "benchmarks" / "records"


@pytest.fixture(scope="module")
def reliability() -> ModuleType:
    return load_program("benchmarks/reliability.py")


def test_the_page_is_that_of_the_records(reliability: ModuleType, tmp_path: Path) -> None:
    text = PAGE.read_text()
    assert reliability.on_page(text) == text, "run python benchmarks/reliability.py --page docs/reliability.md"
    shutil.copytree(RECORDS, tmp_path / "records")
    path = tmp_path / "records" / "hostile_folders.json"
    found = json.loads(path.read_text())
    found["rounds"][0]["calls"] += 1
    path.write_text(json.dumps(found))
    assert reliability.on_page(text, tmp_path / "records") != text


def test_a_stale_page_is_said_and_written_again(
    reliability: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(re.sub(r"\d", "7", PAGE.read_text()))
    assert reliability.main(["--page", str(page), "--check"]) == 1
    assert "is stale" in capsys.readouterr().out
    assert reliability.main(["--page", str(page)]) == 0
    assert reliability.main(["--page", str(page), "--check"]) == 0


def test_a_record_that_is_missing_is_named_with_how_to_make_it(reliability: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"kill_and_resume\.json is not a record.*has the commands"):
        reliability.on_page(PAGE.read_text(), tmp_path)


def test_nothing_failed_and_enough_was_tried() -> None:
    def read(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((RECORDS / name).read_text())
        return found

    killed, points, rounds = read("kill_and_resume.json"), read("crash_points.json"), read("rank_rounds.json")
    sweeps = [read("sweep_kills.json"), read("sweep_kills_warm.json")]
    hostile, lines = read("hostile_folders.json")["rounds"], read("bad_command_lines.json")
    assert killed["different"] == points["failed"] == points["different"] == []
    assert [sweep[key] for sweep in sweeps for key in ("again", "missing", "different")] == [[]] * 6
    assert rounds["hung"] == rounds["wrong"] == lines["failed"] == []
    assert [item["faults"] for item in hostile] == [[]] * len(hostile)
    tried = [killed["kills"], rounds["rounds"], lines["lines"]]
    assert all(number >= least for number, least in zip(tried, [144, 50, 400], strict=True))
    assert points["every"] == 1
    assert {size: number >= 5 for size, number in rounds["ranks"].items()} == {"1": True, "2": True, "4": True}
    assert sum(rounds["ranks"].values()) == len(rounds["each"]) == rounds["rounds"]
    assert rounds["too_late"] <= 5
    assert rounds["uncommitted_changes"] is False
    assert points["points"] >= 119
    assert min(sweep["kills"] for sweep in sweeps) >= 20
    assert len(hostile) >= 2
    assert min(item["cases"] for item in hostile) >= 300


def test_every_harness_that_the_page_names_is_there() -> None:
    links = re.findall(r"\]\((\.\./[^)]+)\)", PAGE.read_text())
    assert len(links) >= 7
    assert [link for link in links if not (PAGE.parent / link).resolve().exists()] == []
