"""The statistics proven by simulation: intervals hold the truth as often as they say, and wrong ones do not."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
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


def test_the_page_shows_what_was_measured(simulation: ModuleType) -> None:
    """Its table has every setting, and its sentence is within what is promised."""
    text = (ROOT / "docs" / "comparing.md").read_text()
    _, _, table = text.partition("<!-- coverage:begin -->")
    assert "in single settings from" in table
    lines = [line for line in table.splitlines() if re.match(r"\| \d ", line)]
    assert len(lines) == len(simulation.SETTINGS)
    mixed, false_claims = re.findall(r"\*\*([\d.]+)%\*\*", table)
    assert 94.0 <= float(mixed) <= 96.0
    assert float(false_claims) <= 5.0
