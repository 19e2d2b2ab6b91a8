"""The statistics proven by simulation: intervals hold the truth as often as they say, and wrong ones do not."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
from programs import load_program
from sampling import size

from metaexp.core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
RECORD = ROOT / "benchmarks" / "records" / "comparison.json"
NOISE = 3.0
"""Standard errors of a simulated share that are allowed beyond 5 %."""
EACH = size(250, 500)
"""Simulated tables of a setting."""


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    return load_program("benchmarks/comparison.py")


@pytest.mark.slow
@pytest.mark.parametrize("generator", ["logistic", "power"])
@pytest.mark.parametrize("seeds", [(2, 2), (3, 3), (2, 10), (4, 7)])
def test_intervals_hold_the_truth_for_any_mix_of_seeds(
    simulation: ModuleType, seeds: tuple[int, int], generator: str
) -> None:
    found = simulation.simulate(simulation.Setting(seeds, 15, "middle", generator), EACH, seed=11, controls=False)
    assert simulation.share(found.paired) >= 0.95 - NOISE * (0.05 * 0.95 / EACH) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [(2, 2, 2, 2), (3, 3, 3, 1), (2, 10), (6, 2, 3)])
def test_equal_rows_get_different_ranks_in_at_most_5_per_cent_of_tables(
    simulation: ModuleType, seeds: tuple[int, ...]
) -> None:
    assert simulation.claims(simulation.Setting(seeds, 15, "large", "power"), EACH, seed=12) <= 0.05


def test_equal_rows_of_one_seed_never_get_different_ranks(simulation: ModuleType) -> None:
    assert simulation.claims(simulation.Setting((1, 1, 1), 15, "large", "power"), 500, seed=12) == 0.0
    assert simulation.claims(simulation.Setting((1, 3), 15, "large"), 500, seed=12) == 0.0


@pytest.mark.slow
def test_intervals_that_forget_seeds_or_their_fewness_miss_the_truth(simulation: ModuleType) -> None:
    found = simulation.simulate(simulation.Setting((3, 3), 75, "large"), 500, seed=2)
    assert simulation.share(found.paired) > 0.93
    assert simulation.share(found.naive) < 0.9
    assert simulation.share(found.episodes_only) < 0.5


def test_the_page_is_what_the_record_says(
    simulation: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Written by the documented command, which simulates nothing; a typed number would be seen."""
    page = ROOT / "docs" / "comparing.md"
    copy = tmp_path / "comparing.md"
    copy.write_text(re.sub(r"\*\*[\d.]+%\*\*", "**99.9%**", page.read_text()))
    assert copy.read_text() != page.read_text()
    assert simulation.main(["--record", str(RECORD), "--page", str(copy)]) == 0
    assert copy.read_text() == page.read_text()
    assert "tables of equal rows" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="is not a record of this benchmark"):
        simulation.main(["--record", str(ROOT / "benchmarks" / "records" / "learners_cpu.json")])


def test_the_record_has_every_setting_and_keeps_what_is_promised(simulation: ModuleType) -> None:
    found = simulation.read(RECORD)
    for kind, wanted in (("settings", simulation.SETTINGS), ("tables", simulation.TABLES)):
        made = [
            simulation.Setting(**{**{k: line[k] for k in simulation.Setting._fields}, "seeds": tuple(line["seeds"])})
            for line in found[kind]
        ]
        assert made == wanted
    noise = NOISE * (0.05 * 0.95 / found["each"]) ** 0.5
    for line in found["tables"]:
        several = sum(count > 1 for count in line["seeds"]) > 1
        assert line["claims"] <= (0.05 + noise if several else 0.0)
    equal = [n for n in found["settings"] if n["spread"] != simulation.ONE_ROW and min(n["seeds"]) > 1]
    assert min(line["paired"] for line in equal) >= 0.95 - noise
    hard = [line for line in found["settings"] if line["spread"] == simulation.ONE_ROW]
    assert [2, 2] in [line["seeds"] for line in hard]


def test_a_small_simulation_gives_such_a_record(
    simulation: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = [simulation.Setting((3, 3), 5, "small"), simulation.Setting((3, 3), 5, simulation.ONE_ROW)]
    monkeypatch.setattr(simulation, "SETTINGS", kinds)
    monkeypatch.setattr(simulation, "TABLES", [simulation.Setting((2, 2), 5, "small")])
    assert simulation.main(["--each", "4", "--output", str(tmp_path / "record.json")]) == 0
    found = simulation.read(tmp_path / "record.json")
    assert (found["each"], len(found["settings"]), len(found["tables"])) == (4, 2, 1)
    assert 0.0 <= found["settings"][0]["paired"] <= 1.0
