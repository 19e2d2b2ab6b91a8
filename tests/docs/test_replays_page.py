"""The page shows what the record of the replays says, and a replay sees a number that differs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from programs import load_program

from metaexp.core.json_lines import METRICS_FILE

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reproducing.md"
RECORD = ROOT / "benchmarks" / "records" / "replays.json"
RUN = "fine_tune_sinusoid"


@pytest.fixture
def replays() -> ModuleType:
    return load_program("benchmarks/published/replays.py")


def test_the_page_is_that_of_the_record(replays: ModuleType) -> None:
    text, found = PAGE.read_text(), json.loads(RECORD.read_text())
    assert replays.on_page(text, found) == text, "run python benchmarks/published/replays.py --page docs/reproducing.md"
    found["results"][RUN]["differences"]["200"] = 0.5
    assert replays.on_page(text, found) != text
    found = json.loads(RECORD.read_text())
    found["left_out"]["a_run"] = "no data"
    assert "Left out: `a_run`: no data" in replays.on_page(text, found)


def test_a_row_that_was_not_trained_again_is_named(replays: ModuleType) -> None:
    found = json.loads(RECORD.read_text())
    names = replays.all_names()
    assert {*found["results"], *found["left_out"]} <= set(names)
    seed, untrained, from_another = f"{RUN}-seed1", "nearest_neighbour_omniglot_5way_1shot", "maml_sinusoid_10shot"
    assert not {seed, untrained, from_another} & set(names)
    assert f"`{RUN}`" not in replays.format_about(found, names)
    del found["results"][RUN]
    assert f"`{RUN}`" in replays.format_about(found, names)


def test_a_row_that_was_published_again_since_is_not_in_the_table(replays: ModuleType) -> None:
    found = json.loads(RECORD.read_text())["results"]
    assert RUN in replays.of_published_runs(found)
    found[RUN]["commit"] = "0" * 8
    found["a_run_that_was_withdrawn"] = found["maml_sinusoid"]
    assert {*found} - {*replays.of_published_runs(found)} >= {RUN, "a_run_that_was_withdrawn"}
    assert "maml_sinusoid" in replays.of_published_runs(found)
    record = {**json.loads(RECORD.read_text()), "results": found}
    page = replays.on_page(PAGE.read_text(), record)
    assert f"[{RUN}](results" not in page
    assert f"`{RUN}`" in page.partition("Not trained again:")[2].partition("\n\n")[0]


def test_differences_are_relative_and_of_steps_that_both_have(replays: ModuleType) -> None:
    before, now = [(100, 2.0), (200, 4.0), (300, 1.0)], [(100, 2.0), (200, 4.01)]
    assert replays.differences(before, now) == {"100": 0.0, "200": pytest.approx(0.0025)}


def test_a_replay_tells_rounding_from_a_change(
    replays: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (RUN, f"{RUN}-seed1"):
        shutil.copytree(ROOT / "docs" / "results" / name, tmp_path / "results" / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(replays, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(replays, "LINES", 1)
    found = replays.measure(RUN)
    assert found["steps"] == 200
    assert found["differences"]["200"] < 1e-4 < 1e-2 < found["another_seed"]["200"]
    metrics = tmp_path / "results" / RUN / METRICS_FILE
    first, rest = metrics.read_text().split("\n", 1)
    values = json.loads(first)
    metrics.write_text(json.dumps(values | {"train/loss": values["train/loss"] * 1.001}) + "\n" + rest)
    changed = replays.measure(RUN)
    assert not changed["identical"]
    assert changed["differences"]["200"] == pytest.approx(0.001, rel=0.2)
