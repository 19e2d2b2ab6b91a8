"""The generated tables: every number from a record, stale ones marked, text safe in a table."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from metaexp.core.errors import RunFolderError
from metaexp.report.pages import (
    Documentation,
    Today,
    as_recorded,
    format_short_table,
    generate,
    outdated,
    read_entries,
    write_outdated,
)
from metaexp.report.rows import Entry, best_first, format_devices, format_seeds_table
from metaexp.results.display import wording
from metaexp.results.display.markdown import between_markers, format_table
from metaexp.results.record import Machine, Reference, RunRecord, Score, Task, Verdict, read_record, write_record

README = "# Project\n\n<!-- results:begin -->\nold\n<!-- results:end -->\n\nmore\n"


@pytest.fixture
def docs(record: RunRecord, tmp_path: Path) -> Path:
    folder = tmp_path / "docs" / "results"
    sinusoid = dataclasses.replace(
        record, dataset="sinusoid", task=Task(0, 5, 5), experiment="maml_sinusoid", seconds=11500.0,
        test=Score("mse", 0.6123, 0.0412, 600), first_order=True, batch_norm="none", steps=70000, full_steps=70000,
        reference=Reference("Finn et al.", "Table 2", "mse", 0.67, None, "600 sinusoids"), verdict=None, after_steps=[],
    )  # fmt: skip
    for name, content in (("maml_sinusoid", sinusoid), ("maml_omniglot_5way_1shot", record)):
        (folder / name).mkdir(parents=True)
        write_record(content, folder / name)
    (tmp_path / "README.md").write_text(README)
    return folder


def _changed(_: RunRecord) -> None:
    """The settings of every experiment have changed."""


def _cells(text: str, run: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| [{run}]")]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_page_says_everything_that_belongs_beside_a_number(docs: Path) -> None:
    write_outdated(Documentation(docs, None))
    page = (docs / "README.md").read_text()
    assert _cells(page, "maml_omniglot_5way_1shot") == [
        "[maml_omniglot_5way_1shot](maml_omniglot_5way_1shot/README.md)", "98.27 ± 0.31 %", "98.7 ± 0.4 %",
        "shortened (6,000 of 60,000 steps): 0.4 points below, one seed", "maml", "omniglot", "5-way 1-shot", "600",
        "6,000 of 60,000", "transductive", "second", "AMD EPYC, 2 threads", "21 min",
    ]  # fmt: skip
    assert _cells(page, "maml_sinusoid")[1:11] == [
        "0.612 ± 0.041", "0.67", "-", "maml", "sinusoid", "5-shot", "600", "70,000", "none", "first",
    ]  # fmt: skip


def test_the_readme_is_changed_between_its_markers_only(docs: Path, tmp_path: Path) -> None:
    write_outdated(Documentation(docs, tmp_path / "README.md"))
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# Project\n\n<!-- results:begin -->\n| Run |")
    assert text.endswith("<!-- results:end -->\n\nmore\n")
    assert "(docs/results/maml_sinusoid/README.md)" in text
    assert "old" not in text


def test_generated_files_are_up_to_date_until_a_record_changes(docs: Path, record: RunRecord, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    assert len(write_outdated(Documentation(docs, readme))) == 4
    assert outdated(Documentation(docs, readme)) == write_outdated(Documentation(docs, readme)) == []
    write_record(dataclasses.replace(record, test=Score("accuracy", 0.9, 0.01, 600)), docs / "maml_omniglot_5way_1shot")
    assert set(outdated(Documentation(docs, readme))) == {
        docs / "maml_omniglot_5way_1shot" / "README.md", docs / "README.md", readme,
    }  # fmt: skip


def test_a_number_typed_by_hand_is_found(docs: Path) -> None:
    write_outdated(Documentation(docs, None))
    page = docs / "README.md"
    page.write_text(page.read_text().replace("98.27", "99.27"))
    assert outdated(Documentation(docs, None)) == [page]


def test_a_record_whose_experiment_has_changed_is_shown_as_stale(docs: Path) -> None:
    assert [entry.stale for entry in read_entries(docs, _changed)] == [True, True]
    assert [entry.stale for entry in read_entries(docs)] == [False, False]
    page = generate(Documentation(docs, None, _changed))[docs / "README.md"]
    assert _cells(page, "maml_sinusoid")[3] == "stale: settings changed since"
    assert _cells(page, "maml_omniglot_5way_1shot")[3].startswith("stale: settings changed since; was: shortened")


def test_the_settings_of_each_record_are_made_once(docs: Path) -> None:
    asked: list[str] = []

    def today(record: RunRecord) -> Today:
        asked.append(record.dataset)
        return as_recorded(record)

    generate(Documentation(docs, None, today))
    assert sorted(asked) == ["omniglot", "sinusoid"]


@pytest.mark.parametrize("stale", [False, True])
def test_a_verdict_has_the_words_of_this_version(docs: Path, stale: bool) -> None:
    run = docs / "maml_omniglot_5way_1shot"
    before = Verdict("changed", -0.0043, "changed settings (algorithm.fce=true and 1 more): 0.4 points below")
    deviations = ["algorithm.fce=true", "task.n_query=5"]
    write_record(dataclasses.replace(read_record(run), deviations=deviations, verdict=before), run)
    page = generate(Documentation(docs, None, _changed if stale else as_recorded))[run / "README.md"]
    assert "changed settings (algorithm.fce=true, task.n_query=5): 0.4 points below" in page
    assert "1 more" not in page


def test_a_verdict_has_the_departures_and_the_schedule_that_the_experiments_file_states_now(docs: Path) -> None:
    def verdict(departs: str, stale: bool = False, steps: int | None = None) -> str:
        def today(record: RunRecord) -> Today:
            return Today(record.reference and dataclasses.replace(record.reference, steps=steps))

        made = Documentation(docs, None, _changed if stale else today, departs=lambda _: departs)
        return _cells(generate(made)[docs / "README.md"], "maml_omniglot_5way_1shot")[3]

    recorded = "shortened (6,000 of 60,000 steps): 0.4 points below, one seed"
    assert verdict("another head <b>") == f"{recorded}, with departures: another head &lt;b>"
    assert verdict("") == recorded
    assert verdict("another head", stale=True) == f"stale: settings changed since; was: {recorded}"
    assert verdict("", steps=90_000) == recorded.replace("60,000", "90,000")
    assert verdict("", steps=90_000, stale=True) == f"stale: settings changed since; was: {recorded}"


def test_a_runs_page_gives_the_command_the_steps_and_the_figures(docs: Path) -> None:
    plots = docs / "maml_omniglot_5way_1shot" / "plots"
    plots.mkdir()
    (plots / "learning_curve.png").write_bytes(b"")
    page = generate(Documentation(docs, None))[plots.parent / "README.md"]
    assert "metaexp train experiment=maml_omniglot_5way_1shot train.steps=6000" in page
    assert "![learning curve](plots/learning_curve.png)" in page
    assert "| 1 | 97.00 ± 0.40 % |" in page
    assert "| Commit | `aaaaaaaaaaaa` |" in page


def test_a_runs_page_has_large_counts_with_commas(record: RunRecord, tmp_path: Path) -> None:
    assert record.test is not None
    test = dataclasses.replace(record.test, n_episodes=10_000)
    many = dataclasses.replace(record, test=test, episodes_per_second=23_041.2)
    folder = tmp_path / "results" / record.name
    folder.mkdir(parents=True)
    write_record(many, folder)
    page = generate(Documentation(folder.parent, None))[folder / "README.md"]
    assert "| Test episodes | 10,000 |" in page
    assert "| Training episodes per second | 23,041 |" in page


def test_a_run_on_another_task_is_shown_without_the_published_number(record: RunRecord) -> None:
    assert wording.format_published(record) == "98.7 ± 0.4 %"
    assert wording.format_published(dataclasses.replace(record, deviations=["task.k_shot=10"])) == wording.NOTHING
    assert wording.format_published(dataclasses.replace(record, deviations=["train.steps=10"])) == "98.7 ± 0.4 %"


def test_no_records_give_a_page_without_a_table(tmp_path: Path) -> None:
    tmp_path.joinpath("results").mkdir()
    page = generate(Documentation(tmp_path / "results", None))[tmp_path / "results" / "README.md"]
    assert "# Results" in page
    assert "| Run |" not in page


def test_rows_with_a_published_number_come_first_and_the_others_have_no_columns_for_one(
    docs: Path, record: RunRecord
) -> None:
    alone = dataclasses.replace(record, dataset="aaa", experiment=None, reference=None, verdict=None)
    (docs / "first_by_name").mkdir()
    write_record(alone, docs / "first_by_name")
    page = generate(Documentation(docs, None))[docs / "README.md"]
    with_number, without = page.split("## Without a published number")
    assert "## With a published number" in with_number
    assert "[maml_omniglot_5way_1shot]" in with_number
    assert "first_by_name" not in with_number
    assert _cells(without, "first_by_name")[:4] == [
        "[first_by_name](first_by_name/README.md)", "98.27 ± 0.31 %", "maml", "aaa",
    ]  # fmt: skip
    assert "Verdict" not in without


def test_a_faulty_record_stops_the_report(docs: Path) -> None:
    (docs / "maml_sinusoid" / "record.json").write_text("{}")
    with pytest.raises(RunFolderError, match="maml_sinusoid"):
        generate(Documentation(docs, None))


@pytest.mark.parametrize("text", ["", "<!-- results:begin -->", "<!-- results:end --><!-- results:begin -->"])
def test_a_text_without_its_markers_is_refused(text: str) -> None:
    with pytest.raises(RunFolderError, match="<!-- results:begin --> and <!-- results:end -->"):
        between_markers(text, "results", "x")


def test_generated_paragraphs_are_wrapped_and_tables_are_not() -> None:
    table = format_table(["a"], [["words " * 30]])
    page = between_markers("<!-- results:begin -->\n<!-- results:end -->", "results", f"{table}\n\n{'words ' * 30}")
    assert table in page
    assert [len(line) for line in page.splitlines() if line.startswith("words")] == [119, 59]


def test_a_cell_cannot_break_the_table() -> None:
    lines = format_table(["a"], [["x | y\nz"]]).splitlines()
    assert lines[2:] == ["| x \\| y z |"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (42.4, "42 s"), (99.4, "99 s"), (150, "2 min"), (5400, "90 min"), (11520, "3 h 12 min")],
)
def test_times_are_printed_in_a_fitting_unit(seconds: float | None, words: str) -> None:
    assert wording.format_time(seconds) == words


@pytest.mark.parametrize(("rate", "words"), [(None, "-"), (7.412, "7.41"), (99.94, "99.9"), (3200.4, "3,200")])
def test_rates_have_no_powers_of_ten(rate: float | None, words: str) -> None:
    assert wording.format_throughput(rate) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ([240.0, 72.4, None], ["240 s", "72 s", "-"]),
        ([2.0, 1000.0, 5400.0], ["0.033 min", "17 min", "90 min"]),
        ([3000.0, 36000.0], ["0.83 h", "10 h"]),
        ([None], ["-"]),
        ([], []),
    ],
)
def test_times_that_are_compared_are_in_one_unit(seconds: list[float | None], words: list[str]) -> None:
    assert wording.format_times(seconds) == words


def test_devices_name_what_could_change_a_number() -> None:
    gpu = Machine("cuda", "NVIDIA H200", "bf16", 16, True, None)
    assert wording.format_device(gpu) == "NVIDIA H200, bf16"
    assert wording.format_device(dataclasses.replace(gpu, accelerator="cpu", name="AMD", precision="float32")) == (
        "AMD, 16 threads"
    )
    assert wording.format_device(dataclasses.replace(gpu, ranks=4)) == "NVIDIA H200, bf16, 4 ranks"


def test_a_row_over_several_seeds_names_every_device_once(record: RunRecord) -> None:
    gpu = Machine("cuda", "NVIDIA H200", "float32", 1, True, None)
    cpu = dataclasses.replace(gpu, accelerator="cpu", name="AMD")
    runs = [dataclasses.replace(record, seed=seed, device=device) for seed, device in enumerate((gpu, gpu, cpu))]
    seeds = tuple(Entry(f"row-seed{run.seed}", run, stale=False) for run in runs)
    row = Entry("row", runs[0], stale=False, seeds=seeds)
    assert format_devices(row) == "NVIDIA H200; AMD, 1 thread"
    assert format_devices(seeds[2]) == "AMD, 1 thread"
    devices = [line.split("|")[4].strip() for line in format_seeds_table(row).splitlines()[2:]]
    assert devices == ["NVIDIA H200", "NVIDIA H200", "AMD, 1 thread", "NVIDIA H200; AMD, 1 thread"]


def test_the_command_is_safe_to_paste_into_a_shell(record: RunRecord) -> None:
    odd = dataclasses.replace(record, experiment=None, overrides=["algorithm=maml", "dataset.name=it's; rm -r x"])
    assert wording.format_command(odd) == "metaexp train algorithm=maml 'dataset.name=it'\\''s; rm -r x'"


def test_the_page_of_a_run_says_where_its_experiment_departs(docs: Path) -> None:
    def departs(record: RunRecord) -> str:
        return "annealed | not constant" if record.dataset == "omniglot" else ""

    pages = generate(Documentation(docs, None, departs=departs))
    row = "| Departs from the paper | annealed \\| not constant |"
    assert row in pages[docs / "maml_omniglot_5way_1shot" / "README.md"]
    assert "Departs" not in pages[docs / "maml_sinusoid" / "README.md"]


@pytest.mark.parametrize(
    ("hostile", "forbidden"),
    [
        ("<script>alert(1)</script>", "<script"),
        ("![x](https://example.org/x.png)", "](https"),
        ("a\n```\n# heading", "\n# heading"),
        ("red\x1b[31m", "\x1b"),
    ],
)
def test_texts_of_records_have_no_meaning_on_pages(
    record: RunRecord, tmp_path: Path, hostile: str, forbidden: str
) -> None:
    folder = tmp_path / "results"
    (folder / "one").mkdir(parents=True)
    changes = dict.fromkeys(("algorithm", "dataset", "batch_norm"), hostile)
    changed = dataclasses.replace(record, **changes, overrides=[hostile], deviations=[hostile], versions={"x": hostile})
    write_record(changed, folder / "one")
    for text in generate(Documentation(folder, None)).values():
        assert forbidden not in text


def test_the_readme_shows_ten_rows_best_first(record: RunRecord) -> None:
    def row(name: str, kind: str | None, difference: float = 0.0) -> Entry:
        verdict = None if kind is None else Verdict(kind, difference, kind)  # type: ignore[arg-type]
        return Entry(name, dataclasses.replace(record, verdict=verdict, experiment=name), False)

    far, near = row("far", "within", 0.009), row("near", "within", -0.001)
    rows = [row("none", None), row("cut", "shortened"), far, near, row("best", "reproduced", 0.005)]
    assert [entry.name for entry in best_first(rows, 10)] == ["best", "near", "far", "cut", "none"]
    assert [entry.name for entry in best_first(rows, 2)] == ["best", "near"]
    other = row("other", "shortened")
    other = other._replace(record=dataclasses.replace(other.record, algorithm="another"))
    assert [entry.name for entry in best_first([*rows, other], 3)] == ["best", "near", "other"]
    assert [entry.name for entry in best_first([*rows, other], 2)] == ["best", "other"]  # one of each algorithm
    no_margin = row("zero", "within", 0.0)  # a published error of 0 has no distance, so it comes after the others
    reference = Reference("A", "Table 1", "mse", 0.0, None, "600 tasks")
    no_margin = no_margin._replace(record=dataclasses.replace(no_margin.record, reference=reference))
    assert [entry.name for entry in best_first([no_margin, *rows], 10)] == [
        "best",
        "near",
        "far",
        "zero",
        "cut",
        "none",
    ]
    many = [row(f"run{number}", "within") for number in range(12)]
    assert format_short_table(many, "x").count("](x/run") == 10


def test_a_number_that_nobody_read_in_its_source_is_marked_in_tables(record: RunRecord) -> None:
    assert record.reference is not None

    def shown(**source: str) -> str:
        assert record.reference is not None
        return wording.format_published(
            dataclasses.replace(record, reference=dataclasses.replace(record.reference, **source))
        )

    assert shown(paper="Somebody, 2020 (unchecked)") == "98.7 ± 0.4 % (unchecked)"
    assert shown(table="Table 1, as quoted by Lian et al., ICLR 2020") == "98.7 ± 0.4 % (quoted by Lian et al.)"
    assert shown(protocol="the number of queries is unchecked") == "98.7 ± 0.4 %"
