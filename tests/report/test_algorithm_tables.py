"""The tables of the page about algorithms: a line for every setting and every record, no number of its own."""

from __future__ import annotations

import dataclasses

from metaexp.report.algorithm_tables import Setting, format_algorithm_table
from metaexp.report.pages import Entry
from metaexp.results.record import RunRecord, Task


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines()[2:]]


def test_a_setting_with_a_record_one_without_and_a_record_without_setting(record: RunRecord) -> None:
    settings = [
        Setting("maml_omniglot_5way_1shot", "omniglot", Task(5, 1, 1), record.reference),
        Setting("maml_sinusoid", "sinusoid", Task(0, 5, 5), None),
    ]
    free = dataclasses.replace(record, experiment=None, reference=None, verdict=None, dataset="glyphs", full_steps=None)
    entries = [Entry("maml_omniglot_5way_1shot", record, False), Entry("mine", free, True)]
    assert rows(format_algorithm_table(settings, entries, "results")) == [
        ["`maml_omniglot_5way_1shot`", "5-way 1-shot", "98.7 ± 0.4 %",
         "[98.27 ± 0.31 %](results/maml_omniglot_5way_1shot/README.md)",
         "shortened (6,000 of 60,000 steps): 0.4 points below, one seed", "6,000 of 60,000", "transductive",
         "omniglot"],
        ["`maml_sinusoid`", "5-shot", "-", "-", "-", "-", "-", "sinusoid"],
        ["-", "5-way 1-shot", "-", "[98.27 ± 0.31 %](results/mine/README.md)", "stale: settings changed since",
         "6,000", "transductive", "glyphs"],
    ]  # fmt: skip


def test_two_records_of_one_setting_have_a_line_each(record: RunRecord) -> None:
    setting = Setting("maml_omniglot_5way_1shot", "omniglot", Task(5, 1, 1), record.reference)
    entries = [Entry("seed0", record, False), Entry("seed1", dataclasses.replace(record, seed=1), False)]
    assert len(rows(format_algorithm_table([setting], entries, "results"))) == 2


def test_a_record_on_a_stand_in_is_not_a_measurement_of_the_setting(record: RunRecord) -> None:
    setting = Setting("maml_omniglot_5way_1shot", "omniglot", Task(5, 1, 1), record.reference)
    made_up = dataclasses.replace(
        record, dataset="omniglot (stand-in)", config={**record.config, "dataset": {"stand_in": True}}
    )
    first, second = rows(format_algorithm_table([setting], [Entry("mine", made_up, False)], "results"))
    assert first[3] == "-"
    assert (second[0], second[2], second[-1]) == ("-", "-", "omniglot (stand-in)")


def test_without_settings_and_records_it_says_so() -> None:
    assert format_algorithm_table([], [], "results") == "No saved experiment, and no record yet.\n"
