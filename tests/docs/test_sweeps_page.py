"""The page on sweeps shows what the records of its benchmarks say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from programs import load_program

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "sweeps.md"
RECORDS = ROOT / "benchmarks" / "records"


@pytest.mark.parametrize("record", ["seeds_together", "sweep_threads", "sweep_startup", "sweep_hundred"])
def test_the_page_is_that_of_the_records(record: str, tmp_path: Path) -> None:
    page = load_program("benchmarks/sweeps/page.py")
    text = PAGE.read_text()
    assert page.on_page(text) == text, "run python benchmarks/sweeps/page.py --page docs/sweeps.md"
    shutil.copytree(RECORDS, tmp_path / "records")
    path = tmp_path / "records" / f"{record}.json"
    found = json.loads(path.read_text())
    first = next(iter(found["results"]))
    if record == "sweep_hundred":
        found["results"]["wall_seconds"]["median"] += 10.0
    elif record == "sweep_startup":
        found["results"][first]["wall_seconds"] += 1.0
    else:
        found["results"][first]["ratio"] += 1.0
    path.write_text(json.dumps(found))
    assert page.on_page(text, tmp_path / "records") != text


def test_a_stale_page_is_said_and_written_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = load_program("benchmarks/sweeps/page.py")
    copy = tmp_path / "sweeps.md"
    copy.write_text(PAGE.read_text().replace("ratio (range)", "something else"))
    assert page.main(["--page", str(copy), "--check"]) == 1
    assert "is stale" in capsys.readouterr().out
    assert page.main(["--page", str(copy)]) == 0
    assert copy.read_text() == PAGE.read_text()
