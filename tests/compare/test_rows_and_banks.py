"""Which runs are compared, in which rows, and which are refused or left out, with the reason."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from metaexp.compare.banks import check_banks, odd_runs
from metaexp.compare.comparison import ComparedRuns, compare
from metaexp.compare.gather import gather
from metaexp.compare.rows import group, rows
from metaexp.core.errors import ConfigError, RunFolderError, called_in_python
from metaexp.results.record import FROZEN_FILE, OwnCodeRecord, Score, read_record, write_record
from tests.compare.conftest import MakeRun, decide, keep


def compared(folder: Path, *by: str) -> ComparedRuns:
    found = gather([folder])
    return compare(found.runs, found.left_out, by, decide, "title", "command")


def labels(folder: Path, *by: str) -> list[str]:
    return sorted(row.label for row in rows(gather([folder]).runs, by, decide))


def test_rows_are_algorithms_with_their_seeds_and_the_best_is_first(sweep: Path) -> None:
    (table,) = compared(sweep).tables
    assert [row.label for row in table.rows][2] == "meta_lstm"
    assert {row.label for row in table.rows} == {"maml", "proto_net", "meta_lstm"}
    assert all(sorted(row.seeds) == [0, 1, 2] for row in table.rows)
    assert [(row.rank, row.rank_last) for row in table.rows] == [(1, 2), (1, 2), (3, 3)]
    assert len(table.pairs) == 3


@pytest.mark.parametrize(("model", "n_rows"), [("none", 1), ("net", 2)])
def test_settings_of_a_network_that_was_not_made_make_no_rows(
    make_run: MakeRun, tmp_path: Path, model: str, n_rows: int
) -> None:
    place = tmp_path / "own"
    for seed in (0, 1):
        shutil.move(
            make_run("own", seed, model=model, config={"model.width": 8 + seed}, folder=f"own_{seed}"),
            place / str(seed),
        )
    assert len(labels(place)) == n_rows
    (table,) = compared(place).tables
    assert any(item.key == "model.width" for item in table.differences) is (n_rows == 2)


def test_runs_are_found_in_nested_folders_and_named_ones_once(sweep: Path, tmp_path: Path) -> None:
    deep = tmp_path / "all" / "one" / "two"
    deep.parent.mkdir(parents=True)
    shutil.move(sweep, deep)
    one = deep / "run_000"
    assert len(gather([tmp_path / "all"]).runs) == 9
    assert len(gather([tmp_path / "all", one, one / "record.json"]).runs) == 9
    assert [run.folder for run in gather([one]).runs] == [one]


def test_a_path_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="nowhere: there is no such folder"):
        gather([tmp_path / "nowhere"])
    with pytest.raises(RunFolderError, match="no record.json lies within 4 levels below"):
        gather([tmp_path])


def test_runs_that_cannot_be_compared_are_left_out_with_the_reason(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("maml", 0)
    make_run("maml", 1, status="failed", error="boom", folder="a_failed")
    make_run("maml", 2, status="interrupted", folder="b_interrupted")
    make_run("maml", 3, status="running", folder="c_running")
    make_run("maml", 4, test=None, folder="d_untested")
    (make_run("maml", 5, folder="e_no_episodes") / "test_episodes.csv").unlink()
    (make_run("maml", 6, folder="f_damaged") / "record.json").write_text("{")
    other = make_run("maml", 7, folder="g_other_numbers") / "test_episodes.csv"
    other.write_text(re.sub(r",[\d.]+$", ",0.125", other.read_text(), flags=re.MULTILINE))
    found = gather([tmp_path / "sweep"])
    assert len(found.runs) == 1
    reasons = {item.name: item.reason for item in found.left_out}
    assert reasons["a_failed"] == "failed after 6,000 steps: boom"
    assert reasons["b_interrupted"] == "was interrupted after 6,000 steps"
    assert reasons["c_running"] == "is still running, or was killed, after 6,000 steps"
    assert reasons["d_untested"].startswith("was not tested (eval.test=false); `metaexp evaluate`")
    assert reasons["e_no_episodes"].startswith("test_episodes.csv is missing, and record.json has the mean of its ")
    assert "cannot be read as JSON" in reasons["f_damaged"]
    assert reasons["g_other_numbers"] == "the mean of test_episodes.csv is not the test result of record.json."


def test_the_steps_of_a_killed_run_are_those_of_its_metrics(make_run: MakeRun, tmp_path: Path) -> None:
    killed = make_run("maml", 0, status="running", folder="killed")
    write_record(dataclasses.replace(read_record(killed), steps=0), killed)
    (left_out,) = gather([tmp_path / "sweep"]).left_out
    assert left_out.reason == "is still running, or was killed, after 300 steps"
    (killed / "metrics.jsonl").unlink()
    (left_out,) = gather([tmp_path / "sweep"]).left_out
    assert left_out.reason == "is still running, or was killed, after 0 steps"


def test_the_number_of_test_episodes_that_was_asked_for_makes_no_row(make_run: MakeRun, tmp_path: Path) -> None:
    """After ``--retest`` all runs of a table are tested on one bank, whatever they asked for at first."""
    for seed, episodes in ((0, 80), (1, 100), (2, 100)):
        make_run("maml", seed, config={"eval.episodes": episodes})
    make_run("proto_net", 0)
    assert labels(tmp_path / "sweep") == ["maml", "proto_net"]
    (table,) = compared(tmp_path / "sweep").tables
    assert {row.label: sorted(row.seeds) for row in table.rows} == {"maml": [0, 1, 2], "proto_net": [0]}
    assert "eval.episodes" not in [difference.key for difference in table.differences]
    assert labels(tmp_path / "sweep", "eval.episodes") == ["eval.episodes=100", "eval.episodes=80"]
    make_run("maml", 0, config={"eval.episodes": 100})
    assert labels(tmp_path / "sweep")[:2] == ["maml eval.episodes=100", "maml eval.episodes=80"]
    make_run("maml", 5, config={"eval.weights": "last"})
    assert "maml eval.episodes=80 eval.weights=last" in labels(tmp_path / "sweep")


def test_a_job_that_never_wrote_a_record_is_named_among_those_left_out(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("maml", 0)
    (tmp_path / "sweep" / "003-maml").mkdir()
    (tmp_path / "sweep" / "003-maml" / FROZEN_FILE).write_text("{}")
    (tmp_path / "sweep" / "no_job").mkdir()
    (left_out,) = gather([tmp_path / "sweep"]).left_out
    assert (left_out.name, left_out.reason[:13]) == ("003-maml", "has not begun")


def test_a_run_that_ended_without_a_test_is_compared_by_its_later_one(make_run: MakeRun, tmp_path: Path) -> None:
    """Such as the chosen trial of a search. Tests of other settings, or of other weights, are not taken for it."""
    folder = make_run("maml", 0, folder="trial")
    record = read_record(folder)
    write_record(dataclasses.replace(record, test=None, after_steps=[]), folder)
    keep(folder, record, "a", overrides=["eval.seed=3"])
    keep(folder, record, "b", selected_step=1)
    keep(folder, record, "c", run_config_hash="0" * 64)
    (folder / "evaluations" / "d.json").write_text('{"schema_version": 1}')
    assert gather([folder]).runs == []
    keep(folder, record, "e", test=Score("accuracy", 0.1, 0.1, 80))
    (left_out,) = gather([folder]).left_out
    assert left_out.reason == "the mean of e.csv is not the test result of record.json."
    keep(folder, record, "e")
    (run,) = gather([folder]).runs
    assert (run.test, run.bank) == (record.test, record.episode_bank)


def test_paths_of_the_machine_are_on_no_page(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("maml", 0, config={"dataset.root": "/home/someone/data"})
    make_run("proto_net", 0, config={"dataset.root": "/home/other/data"})
    make_run("maml", 1, status="failed", error="DataError: /home/someone/secret is missing", folder="failed")
    found = compared(tmp_path / "sweep")
    assert found.left_out[0].reason == "failed after 6,000 steps: DataError: <path> is missing"
    (table,) = found.tables
    assert [d.values for d in table.differences if d.key == "dataset.root"] == [["<path>", "<path>"]]


def test_of_duplicates_the_later_is_taken_and_the_other_named(make_run: MakeRun, tmp_path: Path) -> None:
    first = make_run("maml", 0, folder="first", finished="2026-01-01")
    make_run("maml", 0, folder="other", finished="2026-01-02")
    shutil.copytree(first, tmp_path / "sweep" / "copy")
    found = gather([tmp_path / "sweep"])
    assert [run.folder.name for run in found.runs] == ["other"]
    reasons = {item.name: item.reason for item in found.left_out}
    assert reasons.keys() == {"first", "copy"}
    for reason in reasons.values():  # not of the copy: it is left out, too
        assert reason.startswith("is the same configuration and seed as other, with OTHER numbers")
    shutil.rmtree(tmp_path / "sweep" / "other")
    (same,) = gather([tmp_path / "sweep"]).left_out
    assert "with the same numbers" in same.reason


def test_runs_of_edited_code_of_ones_own_are_rows_of_their_own(make_run: MakeRun, tmp_path: Path) -> None:
    for seed, digest in enumerate(["a" * 64, "a" * 64, "b" * 64]):
        code = OwnCodeRecord(digest, {"mine": None}, {"mine/net.py": digest})
        make_run("maml", seed, own_code=code)
    make_run("maml", 0, own_code=OwnCodeRecord("b" * 64, {"mine": None}))
    assert labels(tmp_path / "sweep") == [f"maml own_code={12 * 'a'}", f"maml own_code={12 * 'b'}"]
    assert not gather([tmp_path / "sweep"]).left_out
    (row,) = rows(gather([tmp_path / "sweep"]).runs, ["algorithm"], decide)
    assert row.pooled == ["own_code"]


def test_runs_of_the_same_code_of_ones_own_are_one_row(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in (0, 1):
        make_run("maml", seed, own_code=OwnCodeRecord("a" * 64, {"mine": None}))
    assert labels(tmp_path / "sweep") == ["maml"]


def test_duplicates_in_folders_of_one_name_are_told_apart(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("maml", 0, folder="first/0")
    shutil.copytree(tmp_path / "sweep" / "first", tmp_path / "sweep" / "second")
    (left,) = gather([tmp_path / "sweep"]).left_out
    assert {left.name, left.reason.partition(" seed as ")[2].partition(",")[0]} == {"first/0", "second/0"}


def test_rows_of_one_algorithm_are_named_by_what_differs(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(2):
        make_run("maml", seed, config={"algorithm.inner_lr": 0.1})
        make_run("maml", seed, config={"algorithm.inner_lr": 0.4, "device.threads": seed})
        make_run("proto_net", seed, config={"algorithm.inner_lr": 0.4})
    assert labels(tmp_path / "sweep") == ["maml inner_lr=0.1", "maml inner_lr=0.4", "proto_net"]
    assert labels(tmp_path / "sweep", "algorithm.inner_lr") == ["algorithm.inner_lr=0.1", "algorithm.inner_lr=0.4"]
    assert labels(tmp_path / "sweep", "algorithm") == ["maml", "proto_net"]


def test_rows_of_one_algorithm_from_several_experiments_are_named_by_them(make_run: MakeRun, tmp_path: Path) -> None:
    """As of a sweep over experiment=...: its files set dozens of keys, which a label could not hold."""
    for shot in (1, 5):
        for name, lr in (("maml_omniglot", 0.4), ("maml_omniglot_mlp", 0.1)):
            settings = {"algorithm.inner_lr": lr, "optimizer.lr": lr / 100, "train.steps": int(1000 * lr)}
            experiment = f"{name}_5way_{shot}shot"
            make_run("maml", 0, shot=shot, experiment=experiment, config=settings, folder=f"{experiment}-0")
    make_run("proto_net", 0, experiment="proto_net_omniglot_5way_1shot")
    tables = compared(tmp_path / "sweep").tables
    assert [sorted(row.label for row in table.rows) for table in tables] == [
        ["maml", "maml_mlp", "proto_net"], ["maml", "maml_mlp"],
    ]  # fmt: skip
    make_run("maml", 0, config={"algorithm.inner_lr": 0.7})
    make_run("maml", 0, experiment="maml_omniglot_5way_1shot", config={"algorithm.inner_lr": 0.2})
    found = [row.label for row in compared(tmp_path / "sweep").tables[0].rows]
    assert len(set(found)) == len(found) == 5
    assert "maml" in found
    assert any(label.startswith("maml_omniglot ") and "inner_lr=0.2" in label for label in found)


def test_an_argument_at_its_default_is_as_one_that_was_not_there_yet(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("maml", 0, config={"optimizer.lr": 1})
    make_run("maml", 1, config={"optimizer.lr": 1} | {"optimizer.amsgrad": False})
    assert labels(tmp_path / "sweep") == ["maml"]
    make_run("maml", 2, config={"optimizer.lr": 1} | {"optimizer.amsgrad": True})
    assert labels(tmp_path / "sweep") == ["maml optimizer.amsgrad=-", "maml optimizer.amsgrad=true"]


def test_a_row_that_pools_settings_says_so(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(2):
        make_run("maml", seed, config={"train.steps": 100 * (seed + 1)})
    (row,) = compared(tmp_path / "sweep", "algorithm").tables[0].rows
    assert row.pooled == ["train.steps"]
    assert [r.pooled for r in compared(tmp_path / "sweep").tables[0].rows] == [[], []]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("inner_lr", "--by inner_lr: no run has this key. Did you mean algorithm.inner_lr?"),
        ("algoritm", "Did you mean algorithm"),
        ("seed", "--by seed: the runs of a row are its seeds"),
    ],
)
def test_a_key_that_makes_no_rows_is_refused(sweep: Path, key: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        labels(sweep, key)
    with pytest.raises(ConfigError) as caught, called_in_python():
        labels(sweep, key)
    assert message.replace("--by ", "by=") in str(caught.value)


def test_ways_and_shots_are_groups_of_their_own(make_run: MakeRun, tmp_path: Path) -> None:
    for shot in (1, 5):
        for name in ("maml", "proto_net"):
            make_run(name, 0, shot=shot)
    tables = compared(tmp_path / "sweep").tables
    assert [table.title for table in tables] == ["omniglot, 5-way 1-shot", "omniglot, 5-way 5-shot"]
    assert [len(table.rows) for table in tables] == [2, 2]


def test_other_test_episodes_are_refused_and_the_message_says_which(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("maml", 0, folder="m0")
    make_run("maml", 1, folder="m1")
    make_run("proto_net", 0, n=100, folder="p0")
    groups = group(gather([tmp_path / "sweep"]).runs)
    with pytest.raises(RunFolderError) as caught:
        check_banks(groups)
    text = str(caught.value)
    assert "omniglot, 5-way 1-shot: the runs were tested on 2 different banks of episodes." in text
    assert "bank bank51800000, 80 episodes: m0, m1" in text
    assert "bank bank51100000, 100 episodes: p0" in text
    assert "They differ in eval.episodes: 80, 100." in text
    assert "--retest" in text
    odd = odd_runs(groups[0])
    assert odd is not None
    assert [run.folder.name for run in odd.runs] == ["p0"]
    check_banks(group(gather([tmp_path / "sweep" / "m0", tmp_path / "sweep" / "m1"]).runs))


def advice(*paths: Path, metric: str | None = None) -> str:
    with pytest.raises(RunFolderError) as caught:
        check_banks(group(gather(paths, metric).runs))
    return str(caught.value).splitlines()[-1]


def test_a_new_test_is_offered_only_where_it_gives_the_same_episodes(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(2):
        make_run("maml", seed, folder=f"m{seed}")
    make_run("maml", 2, n=100, folder="longer")
    make_run("maml", 3, data_hash="e" * 64, episode_bank="e" * 64, folder="data")
    make_run("maml", 4, n=100, data_hash="e" * 64, episode_bank="d" * 64, folder="both")
    make_run("maml", 5, episode_bank="c" * 64, folder="version")
    most = [tmp_path / "sweep" / f"m{seed}" for seed in range(2)]

    def says(*odd: str) -> str:
        return advice(*most, *(tmp_path / "sweep" / name for name in odd))

    assert "--retest` tests the odd ones again" in says("longer")
    for name in ("data", "both", "version"):
        assert says(name).endswith(f"Leave out {name}, or the runs that these differ from.")
    assert "Leave out data, version, or the" in says("data", "version")
    mixed = says("longer", "data")
    assert "Leave out data, or the runs that these differ from. `metaexp compare --retest` tests the other odd" in mixed


def test_no_new_test_is_offered_of_a_further_metric(make_run: MakeRun, tmp_path: Path) -> None:
    for seed, n in ((0, 80), (1, 80), (2, 100)):
        folder = make_run("maml", seed, n=n, metrics=[Score("nll", 0.5, 0.0, n)])
        (folder / "test_metrics.csv").write_text("episode,nll\n" + "".join(f"{i},0.5\n" for i in range(n)))
    assert "--retest" in advice(tmp_path / "sweep")
    assert "--retest" not in advice(tmp_path / "sweep", metric="nll")


def test_what_makes_a_comparison_unfair_is_shown_first(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(2):
        make_run("maml", seed, config={"train.steps": 100, "algorithm.inner_lr": 0.1})
        make_run("proto_net", seed, config={"train.steps": 900, "device.threads": 7}, batch_norm="running")
    found = {item.key: item for item in compared(tmp_path / "sweep").tables[0].differences}
    assert set(found) == {"batch_norm", "train.steps", "algorithm.inner_lr"}
    assert sorted(found["train.steps"].values) == ["100", "900"]
    assert [item.own for item in found.values()] == [False, False, True]


def test_an_edited_record_is_left_out_not_believed(make_run: MakeRun) -> None:
    place = make_run("maml", 0)
    content = json.loads((place / "record.json").read_text())
    content["test"]["mean"] += 0.01
    (place / "record.json").write_text(json.dumps(content))
    assert "record.json was changed after it was written: key digest" in gather([place]).left_out[0].reason
    (place / "record.json").write_text(json.dumps(content | {"digest": None}))
    assert "is not the test result" in gather([place]).left_out[0].reason


@pytest.mark.parametrize("closed", ["zz_closed", "a_closed"])
def test_a_folder_that_cannot_be_read_is_left_out_and_named(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    for seed in range(2):
        make_run("maml", seed)
        make_run("proto_net", seed)
    (tmp_path / "sweep" / closed).mkdir()
    real = Path.iterdir

    def iterdir(path: Path) -> object:
        if path.name == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    comparison = compared(tmp_path / "sweep")
    assert [(item.name, item.reason) for item in comparison.left_out] == [(closed, "cannot be read")]
    assert len(comparison.tables[0].rows) == 2
    with pytest.raises(RunFolderError, match=f"{closed} cannot be read"):
        compared(tmp_path / "sweep" / closed)
