"""The statistics proven by simulation: intervals hold the truth as often as they say, and wrong ones do not."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from metaexp.core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
N = 2000


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("comparison_simulation", ROOT / "benchmarks" / "comparison.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_intervals_cover_94_to_96_per_cent_of_2000_comparisons(simulation: ModuleType) -> None:
    assert 0.94 <= simulation.mixture(N) <= 0.96


@pytest.mark.slow
def test_a_table_of_equal_rows_has_a_false_claim_in_at_most_5_per_cent(simulation: ModuleType) -> None:
    assert simulation.family(N) <= 0.05


@pytest.mark.slow
def test_one_seed_covers_over_episodes_and_unpaired_intervals_are_too_wide(simulation: ModuleType) -> None:
    found = simulation.simulate(simulation.Setting(1, 75, "none"), N, seed=1)
    assert 0.94 <= simulation.share(found.paired) <= 0.96
    assert simulation.share(found.unpaired) > 0.97
    assert found.ratio > 1.3


@pytest.mark.slow
def test_intervals_that_forget_seeds_or_their_fewness_miss_the_truth(simulation: ModuleType) -> None:
    found = simulation.simulate(simulation.Setting(3, 75, "large"), 500, seed=2)
    assert simulation.share(found.paired) > 0.93
    assert simulation.share(found.naive) < 0.9
    assert simulation.share(found.episodes_only) < 0.5


def test_the_page_is_what_the_record_says(
    simulation: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Written by the documented command, which simulates nothing; a typed number would be seen."""
    page, record = ROOT / "docs" / "comparing.md", ROOT / "benchmarks" / "records" / "comparison.json"
    copy = tmp_path / "comparing.md"
    copy.write_text(re.sub(r"\*\*[\d.]+%\*\*", "**99.9%**", page.read_text()))
    assert copy.read_text() != page.read_text()
    assert simulation.main(["--record", str(record), "--page", str(copy)]) == 0
    assert copy.read_text() == page.read_text()
    assert "spread evenly over the settings" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="is no record of this benchmark"):
        simulation.main(["--record", str(ROOT / "benchmarks" / "records" / "maml_cpu.json")])


def test_the_record_has_every_setting_and_keeps_what_is_promised(simulation: ModuleType) -> None:
    found = simulation.read(ROOT / "benchmarks" / "records" / "comparison.json")
    assert [simulation.Setting(s["seeds"], s["queries"], s["spread"]) for s in found["settings"]] == simulation.SETTINGS
    assert found["comparisons"] >= N
    assert 0.94 <= found["mixture"] <= 0.96
    assert found["false_claims"] <= 0.05


def test_a_small_simulation_gives_such_a_record(
    simulation: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "SETTINGS", [simulation.Setting(3, 5, "small")])
    assert simulation.main(["--comparisons", "2", "--each", "4", "--output", str(tmp_path / "record.json")]) == 0
    found = simulation.read(tmp_path / "record.json")
    assert (found["comparisons"], found["each"], len(found["settings"])) == (2, 4, 1)
    assert 0.0 <= found["settings"][0]["paired"] <= 1.0
