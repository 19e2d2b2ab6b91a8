"""The page of ranked runs: what it shows, its filters, and that no text of a run becomes part of the page."""

from __future__ import annotations

import dataclasses

from metaexp.report.checked import Checked
from metaexp.report.leaderboard import LeftOut, Place, format_leaderboard, seen_together
from metaexp.report.rows import Entry, format_title, grouped
from metaexp.results.display.wording import format_device
from metaexp.results.record import RunRecord, Score


def entry(record: RunRecord, name: str, mean: float, **changes: object) -> Entry:
    test = Score("accuracy", mean, 0.003, 600)
    return Entry(name, dataclasses.replace(record, test=test, **changes), False)  # type: ignore[arg-type]


def test_learners_are_ranked_best_first_for_each_dataset_and_task(record: RunRecord) -> None:
    error = dataclasses.replace(record, dataset="sinusoid", test=Score("mse", 0.7, 0.1, 600), experiment="worse")
    less = dataclasses.replace(error, test=Score("mse", 0.5, 0.1, 600), experiment="better")
    runs = [
        entry(record, "second", 0.95, experiment="a"), entry(record, "first", 0.99, experiment="b"),
        Entry("worse", error, False), Entry("better", less, False),
    ]  # fmt: skip
    page = format_leaderboard(runs, {}, [])
    assert page.index("omniglot, 5-way 1-shot") < page.index("<strong>first") < page.index("<strong>second")
    assert page.index("<strong>second") < page.index("<strong>better") < page.index("<strong>worse")


def test_the_page_says_of_which_numbers_only_the_first_episodes_were_tested_again(record: RunRecord) -> None:
    def opening(*tested: int) -> str:
        made = [
            entry(record, f"run{i}", 0.9, experiment=f"e{i}")._replace(
                checked=Checked(n, 600, "2026-01-02", "1", "a", "2")
            )
            for i, n in enumerate(tested)
        ]
        page = " ".join(format_leaderboard(made, {}, []).split())
        return page[page.index("<h1>") : page.index("A number is the mean over the test episodes")]

    again = "umber was measured again from the weights on this page before it was shown, and each row says when."
    assert opening(600, 600).endswith(f"<p>Each n{again} ")
    assert "first test episodes" not in opening(600, 600)
    assert opening(100, 600).endswith(f"<p>Each other n{again} ")
    assert "For 1 of the rows, only the first test episodes were measured again" in opening(100, 600)
    for whole in (opening(100), opening(100, 50)):
        assert "Only the first test episodes of each row were measured again" in whole
        assert "and each row says when." in whole
        assert again not in whole


def test_seeds_are_one_row_with_a_download_each(record: RunRecord) -> None:
    runs = [entry(record, name, 0.98 + seed / 100, seed=seed) for seed, name in enumerate(["run", "run-seed1"])]
    places = {name: Place(name, f"{name}/best.safetensors", True) for name in ("run", "run-seed1")}
    page = format_leaderboard(runs, places, [])
    assert page.count("<strong>") == 1
    assert ">2 seeds<" in page
    assert '<a href="run/best.safetensors" download="run.safetensors">seed 0</a>' in page
    assert '<a href="run-seed1/best.safetensors" download="run-seed1.safetensors">seed 1</a>' in page


def seeds_of(record: RunRecord, runs: dict[str, tuple[int, str]]) -> list[tuple[str, int]]:
    """Title and number of seeds of each row, where ``runs`` are name -> (seed, configuration)."""
    entries = [entry(record, name, 0.9, seed=seed)._replace(configuration=same) for name, (seed, same) in runs.items()]
    return [(format_title(row), len(row.seeds)) for row in grouped(entries)]


def test_seeds_of_one_configuration_are_one_row_whatever_their_folders_are_called(record: RunRecord) -> None:
    jobs = {"000-maml-seed0": (0, "a"), "001-maml-seed1": (1, "a"), "002-maml-seed0": (0, "b"), "7": (1, "b")}
    assert seeds_of(record, jobs) == [("maml", 2), ("7", 2)]
    assert [n for _, n in seeds_of(record, {name: (seed, "") for name, (seed, _) in jobs.items()})] == [0] * 4
    assert seeds_of(record, {"000-maml-seed0": (0, "a")}) == [("000-maml-seed0", 0)]


def test_a_seed_that_is_there_twice_makes_a_row_for_each_folder_and_else_for_each_name(record: RunRecord) -> None:
    sweeps = {f"{sweep}/00{seed}-maml-seed{seed}": (seed, "a") for sweep in ("one", "other") for seed in (0, 1, 2)}
    assert seeds_of(record, sweeps) == [("one/maml", 3), ("other/maml", 3)]
    named = {"run": (0, "a"), "run-seed1": (1, "a"), "again": (0, "a")}
    assert seeds_of(record, named) == [("run", 2), ("again", 0)]
    assert seeds_of(record, {"x": (0, "a"), "y": (0, "a")}) == [("x", 0), ("y", 0)]


def test_a_row_says_what_it_is_filtered_by(record: RunRecord) -> None:
    page = format_leaderboard([entry(record, "run", 0.98, departs="images are not augmented")], {}, [])
    found = ("data-together='[\"yes\"]'", "data-batch-norm='[\"transductive\"]'", "data-departures='[\"yes\"]'")
    for said in (*found, "data-dataset='[\"omniglot\"]'", "data-task='[\"5-way 1-shot\"]'", "not augmented"):
        assert said in page
    alone = dataclasses.replace(record, batch_norm="running", departs="", deviations=[])
    other = format_leaderboard([entry(alone, "run", 0.98)], {}, [])
    assert "data-together='[\"no\"]'" in other
    assert "data-departures='[\"none stated\"]'" in other
    assert seen_together(record)
    assert not seen_together(alone)


def test_a_row_of_seeds_on_two_machines_is_found_by_either(record: RunRecord) -> None:
    assert record.device is not None
    other = dataclasses.replace(record.device, accelerator="cuda", name="Another GPU")
    assert format_device(other) != format_device(record.device)
    runs = [entry(record, "run", 0.98, seed=0), entry(record, "run-seed1", 0.99, seed=1, device=other)]
    page = format_leaderboard(runs, {}, [])
    assert page.count("<tr data-") == 1
    for machine in (format_device(record.device), format_device(other)):
        assert f'<option value="{machine}">{machine}</option>' in page
    assert f"{format_device(record.device)}; {format_device(other)}</option>" not in page


def test_a_board_without_a_published_number_has_no_columns_for_it(record: RunRecord) -> None:
    columns = ('<th scope="col">Verdict</th>', 'data-l="Verdict"', 'data-l="Published"')
    page = format_leaderboard([entry(record, "run", 0.98, reference=None, verdict=None)], {}, [])
    assert [column for column in columns if column in page] == []
    compared = format_leaderboard([entry(record, "run", 0.98)], {}, [])
    assert [column for column in columns if column not in compared] == []


def test_no_text_of_a_run_becomes_part_of_the_page(record: RunRecord) -> None:
    hostile = '"><script>alert(1)</script>'
    run = entry(record, hostile, 0.98, algorithm=hostile, dataset=hostile, departs=hostile, overrides=[hostile])
    page = format_leaderboard([run], {hostile: Place(hostile, hostile, False)}, [LeftOut(hostile, hostile)])
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert(1)" in page
    assert "default-src 'none'" in page
