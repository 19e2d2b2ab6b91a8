"""Seeds of one setting taken together: mean, interval, verdict, one row of the tables, one copy each."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from metaexp.core.errors import RunFolderError
from metaexp.core.intervals import student_quantile
from metaexp.report.pages import Documentation, as_recorded, generate, read_entries
from metaexp.report.publish import publish
from metaexp.report.rows import grouped
from metaexp.results.record import RunRecord, Score, Verdict, read_record, write_record
from metaexp.results.seed_summary import format_protocol
from metaexp.results.seeds import combine_seeds, combined_record

NAME = "maml_omniglot_5way_1shot"
SHORTENED = "shortened (6,000 of 60,000 steps): 0.2 points below"


def seeds(record: RunRecord, *means: float, steps: int = 60000) -> list[RunRecord]:
    """Completed records that differ in seed and test score."""
    return [
        dataclasses.replace(record, seed=seed, steps=steps, test=Score("accuracy", mean, 0.003, 600))
        for seed, mean in enumerate(means)
    ]


def test_the_interval_of_several_seeds_is_students_over_their_means(record: RunRecord) -> None:
    found = combine_seeds(seeds(record, 0.98, 0.985, 0.99))
    assert found.test is not None
    assert found.seeds == [0, 1, 2]
    assert found.test.mean == pytest.approx(0.985)
    assert found.test.ci95 == pytest.approx(student_quantile(0.975, 2) * 0.005 / math.sqrt(3))
    assert found.test.ci95 != pytest.approx(0.003)


def test_one_seed_keeps_the_interval_of_its_episodes(record: RunRecord) -> None:
    (alone,) = seeds(record, 0.98)
    assert combine_seeds([alone]).test == alone.test


def test_a_wide_interval_of_few_seeds_makes_nothing_easier_to_reproduce(record: RunRecord) -> None:
    """0.94 and 0.96: Student's interval of 0.13 holds the published 0.987, which shows nothing."""
    found = combine_seeds(seeds(record, 0.94, 0.96))
    assert found.test is not None
    assert found.test.ci95 > 0.12
    assert found.verdict is not None
    assert found.verdict.kind == "undecided"
    assert found.verdict.difference == pytest.approx(0.95 - 0.987)
    near = combine_seeds(seeds(record, 0.985, 0.989)).verdict
    assert near is not None
    assert near.kind == "undecided"
    equal = combine_seeds(seeds(record, 0.9869, 0.9871)).verdict
    assert equal is not None
    assert equal.kind == "reproduced"


def test_the_episodes_count_with_the_mean_of_the_intervals_of_the_seeds(record: RunRecord) -> None:
    def kind(*ci95: float) -> str:
        tests = [Score("accuracy", mean, half, 600) for mean, half in zip((0.9869, 0.9871), ci95, strict=True)]
        runs = [dataclasses.replace(run, test=test) for run, test in zip(seeds(record, 0, 0), tests, strict=True)]
        verdict = combine_seeds(runs).verdict
        assert verdict is not None
        return verdict.kind

    assert kind(0.001, 0.015) == kind(0.015, 0.001) == "reproduced"
    assert kind(0.015, 0.015) == "undecided"
    assert kind(0.001, 0.025) == "undecided"


def test_one_shortened_or_changed_seed_makes_the_whole_so(record: RunRecord) -> None:
    full, cut = seeds(record, 0.9869, 0.9871)
    verdict = combine_seeds([full, dataclasses.replace(cut, steps=600)]).verdict
    assert verdict is not None
    assert (verdict.kind, verdict.text) == ("shortened", "shortened: the runs made from 600 to 60,000 steps")
    both = [dataclasses.replace(run, steps=600) for run in (full, cut)]
    verdict = combine_seeds(both).verdict
    assert verdict is not None
    assert verdict.text == "reproduced: reached after 600 of 60,000 steps, within 1 point, 2 seeds"
    verdict = combine_seeds([full, dataclasses.replace(cut, deviations=["algorithm.inner_lr=0.1"])]).verdict
    assert verdict is not None
    assert verdict.kind == "changed"
    verdict = combine_seeds([full, cut]).verdict
    assert verdict is not None
    assert verdict.kind == "reproduced"


def test_one_seed_on_a_stand_in_keeps_the_whole_from_being_reproduced(record: RunRecord) -> None:
    full, other = seeds(record, 0.987, 0.987)
    made_up = dataclasses.replace(other, config={**other.config, "dataset": {"stand_in": True}})
    verdict = combine_seeds([full, made_up]).verdict
    assert verdict is not None
    assert verdict.kind == "changed"
    assert "stand-in" in verdict.text


def test_runs_that_are_not_seeds_of_one_setting_are_refused(record: RunRecord) -> None:
    first, second = seeds(record, 0.98, 0.98)
    with pytest.raises(RunFolderError, match="seeds 0, 0 are not seeds of one setting"):
        combine_seeds([first, first])
    with pytest.raises(RunFolderError, match="not seeds of one setting"):
        combine_seeds([first, dataclasses.replace(second, test=Score("mse", 0.98, 0.003, 600))])


def test_together_adds_the_times_and_says_no_time_where_one_is_unknown(record: RunRecord) -> None:
    first, second = seeds(record, 0.98, 0.99)
    assert combined_record([first, second]).seconds == pytest.approx(2 * 1234.5)
    assert combined_record([first, dataclasses.replace(second, seconds=None)]).seconds is None
    shared = [dataclasses.replace(r, device=dataclasses.replace(r.device, runs_together=2)) for r in (first, second)]
    assert combined_record(shared).seconds == pytest.approx(1234.5)


@pytest.fixture
def results(record: RunRecord, tmp_path: Path) -> Path:
    """Three published seeds."""
    folder = tmp_path / "docs" / "results"
    for run in seeds(record, 0.98, 0.985, 0.99, steps=6000):
        verdict = Verdict("shortened", 0.0, "judged in other words")
        source = tmp_path / f"run{run.seed}"
        source.mkdir()
        write_record(dataclasses.replace(run, verdict=verdict), source)
        publish(source, folder)
    return folder


def test_a_further_seed_is_published_beside_the_first_and_the_same_seed_replaces_its_copy(
    results: Path, record: RunRecord, tmp_path: Path
) -> None:
    assert sorted(path.name for path in results.iterdir()) == [NAME, f"{NAME}-seed1", f"{NAME}-seed2"]
    write_record(dataclasses.replace(record, seed=1, steps=60000), tmp_path / "run1")
    assert publish(tmp_path / "run1", results).name == f"{NAME}-seed1"
    assert read_record(results / f"{NAME}-seed1").steps == 60000
    assert read_record(results / NAME).steps == 6000


def test_a_run_with_changed_settings_does_not_replace_the_published_one(
    results: Path, record: RunRecord, tmp_path: Path
) -> None:
    write_record(dataclasses.replace(record, deviations=["algorithm.first_order=true"]), tmp_path / "run1")
    with pytest.raises(RunFolderError, match=r"changed settings \(none\) than this one \(algorithm.first_order=true\)"):
        publish(tmp_path / "run1", results)
    assert read_record(results / NAME).deviations == []
    assert publish(tmp_path / "run1", results, "first_order").name == "first_order"


def test_seeds_are_one_row_with_the_runs_listed_on_its_page(results: Path) -> None:
    pages = generate(Documentation(results, None))
    table = pages[results / "README.md"]
    (row,) = [line for line in table.splitlines() if line.startswith("| [maml")]
    assert f"[{NAME}]({NAME}/README.md)" in row
    assert "98.50 ± 1.24 % (3 seeds)" in row
    assert SHORTENED in row
    assert "62 min" in row
    page = pages[results / NAME / "README.md"]
    cells = f"98.50 ± 0.30 % | {SHORTENED}, one seed | AMD EPYC, 2 threads | 21 min"
    assert f"| [1](../{NAME}-seed1/README.md) | {cells} |" in page
    assert "judged in other words" not in page
    assert "| all 3 | 98.50 ± 1.24 % |" in page
    assert "| all 3 |" not in pages[results / f"{NAME}-seed1" / "README.md"]


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 7000},
        {"deviations": ["task.n_query=3"]},
        {"episode_bank": "f" * 64},
        {"seed": 0},
        {"experiment": None},
    ],
)
def test_what_is_not_a_seed_of_the_same_setting_has_a_row_of_its_own(results: Path, change: dict[str, object]) -> None:
    other = results / f"{NAME}-seed2"
    write_record(dataclasses.replace(read_record(other), **change), other)
    rows = grouped(read_entries(results))
    assert len(rows) > 1
    assert other.name in [row.name for row in rows]


def test_stale_seeds_do_not_count_among_current_ones(results: Path) -> None:
    rows = grouped(read_entries(results, lambda record: None if record.seed == 2 else as_recorded(record)))
    assert [(row.name, row.stale, len(row.seeds)) for row in rows] == [(NAME, False, 2), (f"{NAME}-seed2", True, 0)]


def test_the_protocol_is_described_in_the_terms_of_papers(record: RunRecord) -> None:
    assert format_protocol(record) == (
        "600 tasks, 5-way 1-shot, 1 query per class, 2 adaptation steps at test, batch norm transductive"
    )
    one = dataclasses.replace(record, after_steps=record.after_steps[:2])
    assert ", 1 adaptation step at test, " in format_protocol(one)
    assert "adaptation" not in format_protocol(dataclasses.replace(record, after_steps=[]))
