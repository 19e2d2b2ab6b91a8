"""The results in README.md and docs/results are what the committed records give."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from metaexp.cli.report import experiment_finder, main
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.report.pages import MARKER, read_entries
from metaexp.reproduce.today import departs, find_today
from metaexp.results.evaluations import EVALUATIONS, Evaluation
from metaexp.results.privacy import clean_text
from metaexp.results.record import RunRecord, Task, read_record

pytestmark = pytest.mark.usefixtures("remembers")
ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"


def test_the_generated_pages_are_up_to_date() -> None:
    """When this fails, run `metaexp report` and commit what it writes."""
    assert main(["--check", "--root", str(ROOT)]) == 0


def test_the_site_shows_no_bar_for_the_empty_headings_of_names_and_values() -> None:
    markdown = pytest.importorskip("markdown")
    page = (RESULTS / "fine_tune_sinusoid" / "README.md").read_text(encoding="utf-8")
    heads = [part.partition("</thead>")[0] for part in markdown.markdown(page, extensions=["tables"]).split("<thead>")]
    empty = [head for head in heads[1:] if "".join(head.split()) == "<tr><th></th><th></th></tr>"]
    assert 0 < len(empty) < len(heads[1:])
    style = (ROOT / "docs" / "_site" / "site.css").read_text(encoding="utf-8")
    assert ".md-typeset thead:not(:has(th:not(:empty))) {\n  display: none;\n}" in style


def test_a_number_typed_into_the_readme_is_found(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "results").symlink_to(RESULTS)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    end = f"<!-- {MARKER}:end -->"
    (tmp_path / "README.md").write_text(text.replace(end, f"| mine | 99.9 % |\n{end}"), encoding="utf-8")
    assert main(["--check", "--root", str(tmp_path)]) == 2


def test_departures_are_those_of_the_header_where_a_published_number_is_quoted() -> None:
    record = read_record(RESULTS / "maml_omniglot_5way_1shot_two_cores")
    assert "the learning rate of Adam starts at 0.003" in departs(record)
    assert departs(dataclasses.replace(record, experiment="of_my_own")) == ""
    assert departs(dataclasses.replace(record, reference=None)) == ""


def test_the_published_schedule_is_that_of_the_file_also_where_a_record_does_not_have_it() -> None:
    record = read_record(RESULTS / "proto_net_omniglot_5way_1shot_trainval")
    today = find_today(record)
    assert today is not None
    assert today.reference is not None
    assert record.reference is not None
    assert record.reference.steps != 31_500
    assert today.reference == dataclasses.replace(record.reference, steps=31_500, protocol=today.reference.protocol)


def test_committed_records_name_no_machine() -> None:
    private = str(Path.home())
    for path in RESULTS.rglob("*"):
        if EVALUATIONS in path.parts:
            continue  # what `metaexp evaluate` writes here is not committed
        if path.suffix in {".json", ".jsonl", ".yaml", ".csv"}:
            text = path.read_text(encoding="utf-8")
            assert clean_text(text) == text, path
            assert private not in text, path


def test_no_committed_record_is_stale() -> None:
    """An experiment that changes after its run was published must be run again, or its record removed."""
    assert [entry.name for entry in read_entries(RESULTS, find_today) if entry.stale] == []


def made(*overrides: str) -> RunRecord:
    """A committed record, as if it had been made with these overrides today."""
    config = Composer().settings(overrides, Purpose.PLAN).resolved
    return dataclasses.replace(
        read_record(RESULTS / "maml_sinusoid"), overrides=list(overrides), config=config, seed=config["seed"]
    )


@pytest.mark.parametrize(
    "overrides",
    [
        ["experiment=maml_sinusoid"],
        ["experiment=maml_sinusoid", "seed=3"],
        ["experiment=maml_sinusoid", "train.steps=700", "seed=2", "device.threads=2"],
        ["experiment=maml_sinusoid", "algorithm.first_order=true", "optimizer=sgd", "optimizer.lr=0.1"],
        ["dataset=sinusoid", "train.steps=3"],
        [],
    ],
)
def test_a_record_is_current_with_its_overrides_and_not_without_or_with_others(overrides: list[str]) -> None:
    record = made(*overrides)
    assert find_today(record)
    assert not find_today(dataclasses.replace(record, overrides=[*overrides, "train.meta_batch_size=3"]))
    assert not find_today(dataclasses.replace(record, overrides=["no.such=key"]))
    if overrides:
        assert not find_today(dataclasses.replace(record, overrides=[]))


def test_a_record_is_stale_once_a_key_or_the_published_number_has_changed() -> None:
    record = made("experiment=maml_sinusoid")
    for section, key, value, current in (
        ("algorithm", "inner_lr", 0.02, False),
        ("train", "steps", 69999, False),
        ("reference", "value", 0.68, False),
        ("reference", "protocol", "in other words", True),
        ("reference", "steps", 90_000, True),
        ("device", "threads", 7, True),
    ):
        earlier = record.config | {section: record.config[section] | {key: value}}
        assert (find_today(dataclasses.replace(record, config=earlier)) is not None) is current, (section, key)


def later_test(record: RunRecord, n_way: int, k_shot: int, **sections: dict[str, object]) -> Evaluation:
    """A later test of a run on another task, with further changes to sections of its configuration."""
    assert record.test is not None
    assert record.device is not None
    config = record.config | {"task": {"n_way": n_way, "k_shot": k_shot, "n_query": record.task.n_query}}
    config |= {section: config[section] | values for section, values in sections.items()}
    return Evaluation(
        run="run", run_config_hash=record.config_hash, overrides=[], algorithm=record.algorithm,
        dataset=record.dataset, task=Task(n_way, k_shot, record.task.n_query), eval_seed=1000, selected_step=1,
        test=record.test, after_steps=[], batch_norm="running", data_hash="", episode_bank="", config=config,
        config_hash="", device=record.device, versions={}, finished="",
    )  # fmt: skip


def test_a_later_test_belongs_to_the_experiment_with_its_settings() -> None:
    record = read_record(RESULTS / "proto_net_omniglot_5way_1shot")
    find = experiment_finder(ROOT / "conf")
    found = find(record, later_test(record, 20, 1))
    assert found is not None
    assert (found.name, found.deviations, found.steps) == ("proto_net_omniglot_20way_1shot", [], 20000)
    assert found.reference is not None
    assert found.reference["value"] == 0.96
    assert "the authors train on training and validation characters" in found.departs
    assert found.overrides == ["experiment=proto_net_omniglot_20way_1shot"]
    other = find(record, later_test(record, 20, 5))
    assert other is not None
    assert other.name == "proto_net_omniglot_20way_5shot"
    assert other.deviations == ["trained on 1-shot tasks, the experiment on 5-shot tasks"]
    assert other.overrides == ["experiment=proto_net_omniglot_20way_5shot", "train.k_shot=1"]
    seeded = dataclasses.replace(record, config=record.config | {"seed": 2})
    again = find(seeded, later_test(seeded, 20, 1))
    assert again is not None
    assert again.overrides == ["experiment=proto_net_omniglot_20way_1shot", "seed=2"]


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("eval", "episodes", 600), ("algorithm", "distance", "cosine"), ("dataset", "resize", "area")],
)
def test_a_later_test_with_other_settings_belongs_to_no_experiment(section: str, key: str, value: object) -> None:
    record = read_record(RESULTS / "proto_net_omniglot_5way_1shot")
    test = later_test(record, 20, 1, **{section: {key: value}})
    assert experiment_finder(ROOT / "conf")(record, test) is None


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("optimizer", "lr", 0.01), ("algorithm", "distance", "cosine"), ("dataset", "stand_in", True)],
)
def test_a_later_test_of_weights_that_were_trained_otherwise_belongs_to_no_experiment(
    section: str, key: str, value: object
) -> None:
    """Even where the test itself has the settings of one, as ``metaexp evaluate RUN dataset=omniglot`` may have."""
    record = read_record(RESULTS / "proto_net_omniglot_5way_1shot")
    config = record.config | {section: record.config[section] | {key: value}}
    trained_otherwise = dataclasses.replace(record, config=config)
    assert experiment_finder(ROOT / "conf")(trained_otherwise, later_test(record, 20, 1)) is None


def test_without_experiments_there_is_none_to_find(tmp_path: Path) -> None:
    record = read_record(RESULTS / "proto_net_omniglot_5way_1shot")
    assert experiment_finder(tmp_path)(record, later_test(record, 20, 1)) is None


@pytest.mark.parametrize(
    ("run", "key", "name"),
    [
        ("maml_sinusoid", "inner_steps_test", "maml_sinusoid_5steps"),
        ("fine_tune_sinusoid", "tune_steps", "fine_tune_sinusoid_5steps"),
    ],
)
def test_what_an_algorithm_does_at_test_may_differ_where_it_chose_no_weights(run: str, key: str, name: str) -> None:
    record, find = read_record(RESULTS / run), experiment_finder(ROOT / "conf")
    test = later_test(record, 0, 5, algorithm={key: 5})
    found = find(record, test)
    assert found is not None
    assert (found.name, found.deviations, found.overrides) == (name, [], [f"experiment={name}"])
    chosen = dataclasses.replace(record, config=record.config | {"eval": record.config["eval"] | {"weights": "best"}})
    assert find(chosen, test) is None
    assert find(record, later_test(record, 0, 5, algorithm={key: 5}, optimizer={"lr": 0.1})) is None


def test_a_run_that_continues_another_counts_where_it_is_the_same_as_one_from_the_start() -> None:
    record, find = read_record(RESULTS / "maml_sinusoid"), experiment_finder(ROOT / "conf")
    assert record.parent is not None
    test = later_test(record, 0, 5, algorithm={"inner_steps_test": 5})
    assert find(record, test) is not None
    differs = dataclasses.replace(record.parent, not_from_start=["its learning rate was another"])
    assert find(dataclasses.replace(record, parent=differs), test) is None
