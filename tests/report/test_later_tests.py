"""Published later tests: rows of their own, of weights that are kept once."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from metaexp.core.errors import RunFolderError
from metaexp.core.intervals import mean_interval
from metaexp.core.nested import sha256_of
from metaexp.report.later_tests import NotCopied, SavedExperiment, publish_tests, record_of_test
from metaexp.report.leaderboard import Place, format_leaderboard
from metaexp.report.pages import Documentation, Today, as_recorded, generate, read_entries
from metaexp.report.publish import publish
from metaexp.report.rows import best_first, format_entry_command, grouped
from metaexp.results.episodes import episodes_sha256, write_episodes
from metaexp.results.evaluations import Evaluation, evaluations, published_tests
from metaexp.results.record import DIGEST, Reference, RunRecord, Score, Task, read_record, write_record

SAVED = SavedExperiment(
    "maml_omniglot_20way_1shot", ["experiment=maml_omniglot_20way_1shot"], 6000,
    {"paper": "Finn", "table": "Table 1", "metric": "accuracy", "value": 0.9, "ci95": None, "protocol": "600 tasks"},
    [], "the head is another",
)  # fmt: skip
VALUES = [0.85, 0.9, 0.95] * 200
MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(record: RunRecord, tmp_path: Path) -> MakeRun:
    """Makes a run whose weights were tested with 20 ways, too; keywords change that test."""

    def make(seed: int = 0, name: str = "abc", **changes: object) -> Path:
        folder = tmp_path / "outputs" / f"run{seed}"
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        (folder / "evaluations").mkdir(exist_ok=True)
        for suffix in ("json", "safetensors"):
            (folder / "checkpoints" / f"best.{suffix}").write_text(f"weights {seed}")
        write_record(dataclasses.replace(record, seed=seed, full_steps=6000, verdict=None), folder)
        assert record.device is not None
        config = record.config | {"seed": seed, "dataset": {"folder": "/home/someone/pictures"}}
        config["device"] = {"accelerator": "cpu"}
        values = [value + seed / 10000 for value in VALUES]
        made = Evaluation(
            run="run", run_config_hash=record.config_hash, overrides=["task.n_way=20", "device=cpu", "paths.data=/x"],
            algorithm="maml", dataset="omniglot", task=Task(20, 1, 1), eval_seed=1000, selected_step=5500,
            test=Score("accuracy", *mean_interval(values), len(values)), after_steps=[], batch_norm="transductive",
            data_hash="d" * 64, episode_bank="f" * 64, config=config, config_hash="9" * 64, device=record.device,
            versions={}, finished="2026-01-01T00:00:00+00:00", episodes_sha256=episodes_sha256([values]),
        )  # fmt: skip
        path = folder / "evaluations" / f"{name}.json"
        path.write_text(json.dumps(dataclasses.asdict(dataclasses.replace(made, **changes))))  # type: ignore[arg-type]
        write_episodes(path.with_suffix(".csv"), [values])
        return folder

    return make


def published(run: Path, results: Path, saved: SavedExperiment | None = SAVED) -> Path:
    copy = publish(run, results)
    publish_tests(run, copy, lambda *_: saved)
    return copy


def pages(results: Path) -> dict[str, str]:
    made = generate(Documentation(results, None))
    return {path.relative_to(results).as_posix(): text for path, text in made.items()}


def test_a_later_test_is_a_row_of_the_experiment_that_it_is_a_test_of(make_run: MakeRun, tmp_path: Path) -> None:
    copy = published(make_run(), tmp_path / "results")
    run, row = read_entries(tmp_path / "results")
    assert (run.name, run.test, row.name, row.test) == (copy.name, (), copy.name, ("task.n_way=20",))
    assert (row.record.experiment, row.record.task.n_way) == ("maml_omniglot_20way_1shot", 20)
    assert row.record.test == Score("accuracy", *mean_interval(VALUES), 600)
    assert row.record.verdict is not None
    assert row.record.verdict.text == (
        "within 1 point: 0.0 points above, one seed, with departures: weights of maml_omniglot_5way_1shot, chosen on "
        "5-way 1-shot validation tasks"
    )
    assert row.record.departs.endswith("validation tasks. The head is another")
    assert row.record.seconds == run.record.seconds
    assert run.record.test != row.record.test


def test_every_page_shows_it(make_run: MakeRun, tmp_path: Path) -> None:
    name = published(make_run(), tmp_path / "results").name
    made = pages(tmp_path / "results")
    anchor = "other-tests-of-these-weights"
    start = f"| [{name}, tested with task.n_way=20]({name}/README.md#{anchor}) | 90.00 ± "
    (row,) = [line for line in made["README.md"].splitlines() if line.startswith(start)]
    assert " | maml | omniglot | 20-way 1-shot | " in row
    page = made[f"{name}/README.md"]
    assert "## Other tests of these weights" in page
    assert "| `maml_omniglot_20way_1shot` | omniglot | 20-way 1-shot | 90.00 ± " in page
    assert f"`metaexp evaluate docs/results/{name} task.n_way=20 device=cpu`" in page
    entries = read_entries(tmp_path / "results")
    ranked = format_leaderboard(entries, {name: Place(f"docs/results/{name}", "best.safetensors", True)}, [])
    assert f"<strong>{name}, tested with task.n_way=20</strong>" in ranked.replace("<wbr>", "")
    assert f"metaexp evaluate docs/results/{name} task.n_way=20" in ranked
    assert len(best_first(grouped(entries), 10)) == 2


def test_it_is_compared_with_what_its_experiments_file_states_now(make_run: MakeRun, tmp_path: Path) -> None:
    name = published(make_run(), tmp_path / "results").name
    quoted = Reference("Finn", "Table 1", "accuracy", 0.9, None, "600 tasks", steps=60_000)

    def table(current: bool) -> str:
        made = Documentation(
            tmp_path / "results",
            None,
            lambda _: Today(quoted) if current else None,
            departs=lambda _: "the steps are fewer",
        )
        return generate(made)[tmp_path / "results" / name / "README.md"].partition("## Other tests")[2]

    weights = "weights of maml_omniglot_5way_1shot, chosen on 5-way 1-shot validation tasks"
    assert f"shortened (6,000 of 60,000 steps): 0.0 points above, one seed, with departures: {weights}" in table(True)
    assert f"`: {weights}. The steps are fewer\n" in table(True)
    assert "60,000" not in table(False)
    assert f"`: {weights}. The head is another\n" in table(False)


def test_what_differs_in_the_training_is_said_first_and_nothing_is_called_reproduced(
    make_run: MakeRun, tmp_path: Path
) -> None:
    said = "trained on 1-shot tasks, the experiment on 5-shot tasks"
    published(make_run(), tmp_path / "results", SAVED._replace(deviations=[said]))
    row = read_entries(tmp_path / "results")[1]
    assert row.record.verdict is not None
    assert row.record.verdict.kind == "changed"
    assert row.record.verdict.text == f"changed settings ({said}): 0.0 points above"


def test_a_test_of_no_saved_experiment_has_no_published_number(make_run: MakeRun, tmp_path: Path) -> None:
    published(make_run(), tmp_path / "results", None)
    row = read_entries(tmp_path / "results")[1]
    assert (row.record.experiment, row.record.reference, row.record.verdict) == (None, None, None)
    assert row.record.departs == "weights of maml_omniglot_5way_1shot, chosen on 5-way 1-shot validation tasks."


def test_a_stand_in_says_nothing_about_the_published_number(make_run: MakeRun, tmp_path: Path) -> None:
    copy = published(make_run(), tmp_path / "results")
    record, (test,) = read_record(copy), published_tests(copy, read_record(copy))
    made_up = dataclasses.replace(test, config=test.config | {"dataset": {"stand_in": True}})
    verdict = record_of_test(made_up, record).verdict
    assert verdict is not None
    assert verdict.kind == "changed"
    assert "stand-in" in verdict.text


def test_it_is_stale_once_its_experiment_has_changed(make_run: MakeRun, tmp_path: Path) -> None:
    published(make_run(), tmp_path / "results")
    changed = "maml_omniglot_20way_1shot"
    entries = read_entries(tmp_path / "results", lambda it: None if it.experiment == changed else as_recorded(it))
    assert [entry.stale for entry in entries] == [False, True]
    entries = read_entries(tmp_path / "results", lambda it: as_recorded(it) if it.experiment == changed else None)
    assert [entry.stale for entry in entries] == [True, True]  # the weights are those of another training


def test_the_copy_names_no_machine(make_run: MakeRun, tmp_path: Path) -> None:
    copy = published(make_run(), tmp_path / "results")
    text = (copy / "later_tests" / "abc.json").read_text()
    assert "someone" in (tmp_path / "outputs" / "run0" / "evaluations" / "abc.json").read_text()
    assert "someone" not in text
    assert "/x" not in text
    assert "<path>" in text


def test_seeds_share_a_row(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(3):
        published(make_run(seed), tmp_path / "results")
    rows = grouped(read_entries(tmp_path / "results"))
    assert [(len(row.seeds), row.name, row.test) for row in rows] == [
        (3, "maml_omniglot_5way_1shot", ()), (3, "maml_omniglot_5way_1shot", ("task.n_way=20",)),
    ]  # fmt: skip
    assert rows[1].record.verdict is not None
    assert rows[1].record.verdict.text.startswith("reproduced within 1 point, 3 seeds, with departures: weights of")
    page = pages(tmp_path / "results")
    assert page["maml_omniglot_5way_1shot/README.md"].count("| `maml_omniglot_20way_1shot` |") == 2
    assert page["maml_omniglot_5way_1shot/README.md"].count("\n* `metaexp evaluate") == 1  # once for one and all seeds
    assert page["maml_omniglot_5way_1shot-seed1/README.md"].count("| `maml_omniglot_20way_1shot` |") == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"config_hash": "c" * 64}, "it repeats the run's own test"),
        ({"trained_classes": 3}, "3 of its classes were trained on"),
        ({"changed_code": ["mine.py"]}, "your own code was edited since the training (mine.py)"),
    ],
)
def test_a_test_that_says_nothing_of_its_own_is_not_published(
    changes: dict[str, object], reason: str, make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(**changes)
    copy = publish(run, tmp_path / "results")
    assert publish_tests(run, copy, lambda *_: SAVED) == [NotCopied(run / "evaluations" / "abc.json", reason)]
    assert len(read_entries(tmp_path / "results")) == 1


def test_of_tests_that_differ_in_further_metrics_alone_the_newest_is_published(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run()
    copy = publish(run, tmp_path / "results")
    place = run / "evaluations"
    newer = json.loads((place / "abc.json").read_text()) | {"finished": "2999-01-01T00:00:00+00:00"}
    other = newer | {"episode_bank": "d" * 64}
    for name, content in (("new", newer), ("other", other)):
        (place / f"{name}.json").write_text(json.dumps(content))
        shutil.copy(place / "abc.csv", place / f"{name}.csv")
    older, *rest = publish_tests(run, copy, lambda *_: SAVED)
    assert older == NotCopied(place / "abc.json", "a newer test differs from it in eval.metrics alone")
    assert rest == [copy / "later_tests" / "new.json", copy / "later_tests" / "other.json"]


def test_what_evaluate_writes_to_a_published_run_is_not_a_row_until_it_is_published(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run()
    copy = publish(run, tmp_path / "results")
    (run / "evaluations").rename(copy / "evaluations")
    assert len(read_entries(tmp_path / "results")) == 1
    assert publish_tests(copy, copy, lambda *_: SAVED) == [copy / "later_tests" / "abc.json"]
    assert len(read_entries(tmp_path / "results")) == 2
    assert publish_tests(copy, copy, lambda *_: SAVED) == [copy / "later_tests" / "abc.json"]
    assert len(evaluations(copy, read_record(copy))) == 1  # other verbs see it once
    (copy / "evaluations" / "abc.json").unlink()
    assert len(evaluations(copy, read_record(copy))) == 1


def test_a_later_copy_keeps_the_tests_of_the_same_weights_only(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    copy = published(run, tmp_path / "results")
    assert publish(run, tmp_path / "results") == copy
    assert len(published_tests(copy, read_record(copy))) == 1
    (run / "checkpoints" / "best.safetensors").write_text("trained again")
    publish(run, tmp_path / "results")
    assert not (copy / "later_tests").exists()


def test_without_weights_nothing_is_published(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    (run / "checkpoints" / "best.json").unlink()
    copy = publish(run, tmp_path / "results")
    with pytest.raises(RunFolderError, match="has no weights"):
        publish_tests(run, copy, lambda *_: SAVED)


def test_nothing_is_copied_through_a_link(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    copy = publish(run, tmp_path / "results")
    (run / "evaluations").rename(tmp_path / "elsewhere")
    (run / "evaluations").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunFolderError, match="is a symbolic link"):
        publish_tests(run, copy, lambda *_: SAVED)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("abc.json", '"mean": 0.9', '"mean": 0.99', "was changed after it was written"),
        ("abc.json", '"deviations": []', '"deviations": 5', "key deviations"),
        ("abc.json", '"schema_version": 1', '"schema_version": 9', "not a test of version 1"),
        ("abc.json", "{", "", "is damaged"),
        ("abc.csv", "0.85", "0.99", "is not the test result"),
        ("abc.csv", "0,0.85", "0,0.9", "is not the test result"),
    ],
)
def test_a_changed_file_stops_the_report(
    file: str, old: str, new: str, message: str, make_run: MakeRun, tmp_path: Path
) -> None:
    path = published(make_run(), tmp_path / "results") / "later_tests" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1 if file == "abc.csv" else -1))
    with pytest.raises(RunFolderError, match=message):
        read_entries(tmp_path / "results")


@pytest.mark.parametrize(
    "reference",
    [{"paper": "Finn"}, "0.99", {"paper": 5, "table": "", "metric": "", "value": 1.0, "ci95": None, "protocol": ""}],
)
def test_a_strangers_published_number_that_is_none_stops_the_report(
    reference: object, make_run: MakeRun, tmp_path: Path
) -> None:
    path = published(make_run(), tmp_path / "results") / "later_tests" / "abc.json"
    content = json.loads(path.read_text())
    del content[DIGEST]
    content["config"]["reference"] = reference
    path.write_text(json.dumps(content | {DIGEST: sha256_of(content)}))
    with pytest.raises(RunFolderError, match=r"abc.json is damaged"):
        read_entries(tmp_path / "results")


@pytest.mark.parametrize("device", ["`x`", {"accelerator": "`x`"}, None])
def test_a_strangers_device_is_not_part_of_a_command(device: object, make_run: MakeRun, tmp_path: Path) -> None:
    published(make_run(), tmp_path / "results")
    row = read_entries(tmp_path / "results")[1]
    row.record.config["device"] = device
    assert format_entry_command(row) == f"metaexp evaluate docs/results/{row.name} task.n_way=20"


def test_a_test_of_other_weights_stops_the_report(make_run: MakeRun, tmp_path: Path) -> None:
    copy = published(make_run(), tmp_path / "results")
    write_record(dataclasses.replace(read_record(copy), selected_step=5000), copy)
    with pytest.raises(RunFolderError, match="is a test of other weights"):
        read_entries(tmp_path / "results")
