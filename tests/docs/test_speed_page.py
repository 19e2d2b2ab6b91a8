"""The page on speed shows what the records of its benchmarks say, and the steps are compared as it says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from programs import load_program

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "speed.md"
RECORDS = ROOT / "benchmarks" / "records"


@pytest.mark.parametrize(("record", "key"), [("learners_cpu", "ratio"), ("whole_runs", "mb_training")])
def test_the_page_is_that_of_the_records(record: str, key: str, tmp_path: Path) -> None:
    page = load_program("benchmarks/speed_page.py")
    text = PAGE.read_text()
    assert page.on_page(text) == text, "run python benchmarks/speed_page.py --page docs/speed.md"
    shutil.copytree(RECORDS, tmp_path / "records")
    path = tmp_path / "records" / f"{record}.json"
    found = json.loads(path.read_text())
    next(iter(found["results"].values()))[key] += 1.0
    path.write_text(json.dumps(found))
    assert page.on_page(text, tmp_path / "records") != text


def test_a_step_is_timed_only_after_its_loss_and_gradients_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    learners = load_program("benchmarks/learners.py")
    pair = learners.in_type(learners.torch.float64, "anil")
    assert learners.check_equal("anil", pair) < learners.TOLERANCE
    wrong = pair._replace(plain_loss=lambda: pair.plain_loss() * 1.001)
    with pytest.raises(SystemExit, match="the losses differ by"):
        learners.check_equal("anil", wrong)
    share = learners.share_of_products(learners.step(pair.ours, pair.our_loss))
    assert 0.05 < share < 0.95
