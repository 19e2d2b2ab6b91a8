"""A finished run, tested again: with its own settings the same number, with others that fit another one."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from kept_runs import KeptRuns
from rich.console import Console

from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.data.base import MetaDataset
from metaexp.machine.signals import Interrupted
from metaexp.results.display.terminal import print_evaluation
from metaexp.results.episodes import read_episodes
from metaexp.results.evaluations import Kept, as_trained
from metaexp.results.record import RunRecord, read_record
from metaexp.run.evaluation import evaluate
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.job import run_job
from metaexp.run.progress import Lines


@pytest.fixture
def regression(finished: Path) -> tuple[RunRecord, Path]:
    return read_record(finished), finished


@pytest.fixture
def classification(tiny: ModuleType, tmp_path: Path, silent: Lines, kept_runs: KeptRuns) -> tuple[RunRecord, Path]:
    def train(outputs: Path) -> Path:
        folder: Path = run_job(tiny.blobs(outputs, train__steps=4), display=silent).folder
        return folder

    folder = kept_runs.copy("classification", tmp_path, train)
    return read_record(folder), folder


def evaluated(folder: Path, *overrides: str) -> Kept:
    return evaluate_run(folder, overrides, display=Lines(Console(quiet=True)))


def test_its_own_settings_give_its_own_result_to_the_last_bit(regression: tuple[RunRecord, Path]) -> None:
    record, folder = regression
    evaluation, path = evaluated(folder)
    assert evaluation.test == record.test
    assert evaluation.after_steps == record.after_steps
    assert evaluation.selected_step == record.selected_step
    assert evaluation.episode_bank == record.episode_bank
    assert evaluation.batch_norm == record.batch_norm
    assert read_episodes(path.with_suffix(".csv")) == read_episodes(folder / "test_episodes.csv")


def test_more_episodes_begin_with_the_same_ones(regression: tuple[RunRecord, Path]) -> None:
    record, folder = regression
    evaluation, path = evaluated(folder, "eval.episodes=25")
    assert evaluation.test.n_episodes == 25
    assert evaluation.test != record.test
    more, own = read_episodes(path.with_suffix(".csv"))[-1], read_episodes(folder / "test_episodes.csv")[-1]
    assert more[:10] == pytest.approx(own, rel=1e-5)
    assert more[10:20] != pytest.approx(own, rel=1e-2)


def test_another_bank_shot_or_algorithm_setting_gives_another_number(regression: tuple[RunRecord, Path]) -> None:
    record, folder = regression
    changes = ["eval.seed=1", "task.k_shot=9", "algorithm.inner_lr=0.01", "dataset.version=b"]
    results = {change: evaluated(folder, change) for change in changes}
    tests = {result.evaluation.test for result in list(results.values())[:3]}
    assert len(tests | {record.test}) == 4
    assert results["dataset.version=b"].evaluation.data_hash != record.data_hash
    assert len({result.path for result in results.values()}) == 4


def test_an_evaluation_is_kept_under_one_name_and_says_what_it_was(regression: tuple[RunRecord, Path]) -> None:
    record, folder = regression
    first, again = evaluated(folder, "task.k_shot=9"), evaluated(folder, "task.k_shot=9")
    assert first.path == again.path
    assert first.path.parent == folder / "evaluations"
    content = json.loads(first.path.read_text())
    assert content["schema_version"] == 1
    assert content["run"] == folder.name
    assert content["run_config_hash"] == record.config_hash != content["config_hash"]
    assert content["overrides"] == ["task.k_shot=9"]
    assert content["task"] == {"n_way": 0, "k_shot": 9, "n_query": 3}
    assert content["test"]["mean"] == first.evaluation.test.mean
    episodes = first.path.with_suffix(".csv").read_bytes()
    assert content["episodes_sha256"] == hashlib.sha256(episodes).hexdigest()


def test_a_test_with_other_further_metrics_leaves_the_earlier_ones(classification: tuple[RunRecord, Path]) -> None:
    _, folder = classification
    plain, nll = evaluated(folder), evaluated(folder, "eval.metrics=[nll]")
    both, turned = (evaluated(folder, f"eval.metrics=[{names}]") for names in ("ece,per_class", "per_class,ece"))
    assert len({plain.path, nll.path, both.path}) == 3
    assert both.path == turned.path  # the same measurements
    for kept, names in ((plain, []), (nll, ["nll"]), (both, ["ece", "per_class"])):
        content = json.loads(kept.path.read_text())
        assert sorted(metric["metric"] for metric in content["metrics"]) == names
        assert content["test"] == json.loads(plain.path.read_text())["test"]
    found = as_trained(folder, read_record(folder))  # what a run without a test of its own is compared by
    assert found is not None
    assert found.path == plain.path


def test_the_run_itself_is_left_as_it_is(regression: tuple[RunRecord, Path]) -> None:
    _, folder = regression
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    evaluated(folder, "task.k_shot=9")
    assert {path: path.read_bytes() for path in before} == before
    new = {path for path in folder.rglob("*") if path.is_file()} - set(before)
    assert {path.parent.name for path in new} == {"evaluations"}


@pytest.mark.parametrize("override", ["train.steps=3", "train.meta_batch_size=7", "seed=5", "optimizer.lr=0.5"])
def test_an_override_that_would_do_nothing_is_refused(regression: tuple[RunRecord, Path], override: str) -> None:
    key = override.partition("=")[0]
    with pytest.raises(ConfigError, match=f"{key} has no effect on an evaluation"):
        evaluated(regression[1], override)


def test_more_classes_than_in_training_where_the_algorithm_takes_them(
    classification: tuple[RunRecord, Path],
) -> None:
    evaluation, _ = evaluated(classification[1], "task.n_way=5")
    assert evaluation.task.n_way == 5
    assert evaluation.test.metric == "accuracy"
    assert evaluation.test.mean > 0.3


def test_more_classes_are_refused_where_it_does_not(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    maml = {
        "_target_": "metaexp.algorithms.maml.MAML", "inner_lr": 0.1, "inner_steps": 1, "inner_steps_test": 1,
        "first_order": True, "inner_loss_reduction": "mean", "adapt": "all", "batch_norm": "transductive",
    }  # fmt: skip
    folder = run_job(tiny.blobs(tmp_path, algorithm=maml, train__steps=1), display=silent).folder
    words = r"task\.n_way=4 does not fit this run: MAML .* which was 3\. .*train again with task\.n_way=4; .*proto_net"
    with pytest.raises(ConfigError, match=words) as refused:
        evaluated(folder, "task.n_way=4")
    assert "set both alike" not in str(refused.value)
    assert evaluated(folder, "task.k_shot=5").evaluation.test.n_episodes == 10


def test_what_training_would_need_does_not_matter_any_more(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    """Trained with six classes a task, tested on data whose training split has only four."""
    folder = run_job(tiny.blobs(tmp_path, train__steps=1, train__n_way=6), display=silent).folder
    assert evaluated(folder, "dataset.n_classes=4").evaluation.config["train"]["n_way"] == 6
    with pytest.raises(ConfigError, match=r"train\.n_way=6 .* has 4"):
        tiny.blobs(tmp_path, train__n_way=6, dataset={"_target_": "tiny_runs.Blobs", "n_classes": 4, "size": 2})


def test_more_classes_than_the_split_has_are_refused(classification: tuple[RunRecord, Path]) -> None:
    with pytest.raises(ConfigError, match=r"n_way=6.*has 5"):
        evaluated(classification[1], "task.n_way=6")


def test_examples_of_another_shape_are_refused(classification: tuple[RunRecord, Path]) -> None:
    with pytest.raises(ConfigError, match=r"trained on examples of shape \(2,\); dataset=blobs gives \(7,\)"):
        evaluated(classification[1], "dataset.size=7")


def test_features_trained_on_other_classes_are_tested_on_a_dataset_with_more(
    tiny: ModuleType, tmp_path: Path, silent: Lines
) -> None:
    settings = tiny.blobs(tmp_path, algorithm={"_target_": "tiny_runs.Pretrained"}, train__steps=2)
    folder = run_job(settings, display=silent).folder
    assert read_record(folder).training_tasks == "supervised"
    assert evaluated(folder, "dataset.n_classes=11").evaluation.test.n_episodes == 10


def test_weights_that_do_not_fit_the_network_are_named(regression: tuple[RunRecord, Path]) -> None:
    with pytest.raises(RunFolderError, match=r"do not fit the algorithm: model\.body\.weight has shape \(8, 1\), not"):
        evaluated(regression[1], "model.width=9")


@pytest.mark.parametrize("trained_with", ["transductive", "running"])
def test_statistics_that_training_never_collected_are_refused(
    tiny: ModuleType, tmp_path: Path, silent: Lines, trained_with: str
) -> None:
    """Mean 0 and variance 1 are what nothing was normalised with: the number would be chance, or nearly."""
    network = {
        "_target_": "metaexp.models.mlp.MLP", "hidden": [4], "use_batch_norm": True, "norm_scale": True,
        "norm_eps": 1e-3, "weight_init": "default", "init_std": 0.01,
    }  # fmt: skip
    proto_net = {
        "_target_": "metaexp.algorithms.proto_net.ProtoNet", "distance": "cosine", "batch_norm": trained_with,
    }  # fmt: skip
    folder = run_job(tiny.blobs(tmp_path, algorithm=proto_net, model=network, train__steps=2), display=silent).folder
    assert evaluated(folder, "algorithm.batch_norm=transductive").evaluation.batch_norm == "transductive"
    if trained_with == "running":
        assert evaluated(folder, "algorithm.batch_norm=running").evaluation.batch_norm == "running"
    else:
        with pytest.raises(ConfigError, match=r"batch_norm=running .* trained with transductive, has collected none"):
            evaluated(folder, "algorithm.batch_norm=running")


def test_an_interrupted_run_is_tested_with_its_best_weights_so_far(
    tiny: ModuleType, tmp_path: Path, stop_after: Callable[..., Lines]
) -> None:
    with pytest.raises(Interrupted):
        run_job(tiny.settings(tmp_path), folder=tmp_path / "run", display=stop_after(7))
    assert evaluated(tmp_path / "run").evaluation.selected_step == 4


def test_a_run_without_validation_has_no_weights_to_test(
    tiny: ModuleType, tmp_path: Path, stop_after: Callable[..., Lines]
) -> None:
    with pytest.raises(Interrupted):
        run_job(tiny.settings(tmp_path), folder=tmp_path / "run", display=stop_after(2))
    with pytest.raises(RunFolderError, match="has no weights to evaluate: the run has not been validated yet"):
        evaluated(tmp_path / "run")


def test_damaged_weights_are_refused(regression: tuple[RunRecord, Path]) -> None:
    path = regression[1] / "checkpoints" / "best.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(
        RunFolderError, match=r"best is damaged.*what its manifest says.*repeat the run: metaexp reproduce"
    ):
        evaluated(regression[1])
    shutil.rmtree(path.parent)
    with pytest.raises(
        RunFolderError, match=r"checkpoints is missing or has lost files\. The run is complete, .*reproduce"
    ):
        evaluated(regression[1])


def test_damaged_weights_of_an_interrupted_run_can_be_written_again(
    tiny: ModuleType, tmp_path: Path, stop_after: Callable[..., Lines]
) -> None:
    with pytest.raises(Interrupted):
        run_job(tiny.settings(tmp_path), folder=tmp_path / "run", display=stop_after(7))
    (tmp_path / "run" / "checkpoints" / "best.json").write_text("[]")
    with pytest.raises(RunFolderError, match=r"best is damaged.*Continue the run with metaexp train .*resume="):
        evaluated(tmp_path / "run")


def test_what_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        evaluated(tmp_path)


def test_the_result_is_printed_with_its_place(classification: tuple[RunRecord, Path]) -> None:
    console = Console(width=100, record=True, quiet=False, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    found = evaluated(classification[1], "task.n_way=5")
    print_evaluation(*found, console)
    text = console.export_text()
    assert "tiny on blobs, 5-way 2-shot" in text
    assert f"{found.evaluation.test.mean * 100:.2f}" in text
    assert str(found.path) in text
    assert f"batch norm {found.evaluation.batch_norm}" in text


def test_classes_that_were_trained_on_are_refused_unless_allowed_and_then_counted(
    tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MetaDataset, "class_ids", lambda _, split: classes[split])
    classes = {"train": {"a": frozenset({"1"}), "b": frozenset({"2"})}, "val": {}, "test": {"c": frozenset({"3"})}}
    record, folder = run_job(tiny.blobs(tmp_path, train__steps=4), display=silent)
    assert record.training_classes == ["1", "2"]
    assert evaluated(folder).evaluation.trained_classes == 0
    classes["test"] |= {"b under another name": frozenset({"2"})}
    with pytest.raises(ConfigError, match=r"1 of the 2 test classes were trained on.*--allow-trained-classes"):
        evaluated(folder)
    evaluation, _ = evaluate_run(folder, (), None, Lines(Console(quiet=True)), allow_trained_classes=True)
    assert evaluation.trained_classes == 1
    with (console := Console(width=100)).capture() as capture:
        print_evaluation(evaluation, None, console)
    assert "1 of the test classes were trained on" in capture.get()


def test_the_classes_of_a_run_that_did_not_record_them_are_those_of_its_data(
    classification: tuple[RunRecord, Path],
) -> None:
    _, folder = classification
    content = json.loads((folder / "record.json").read_text())
    del content["training_classes"], content["digest"], content["test_episodes_sha256"]
    (folder / "record.json").write_text(json.dumps(content))
    assert evaluated(folder).evaluation.trained_classes == 0


def test_a_test_with_edited_code_of_ones_own_says_so_and_does_not_stand_for_the_run(
    tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, folder = run_job(tiny.settings(tmp_path, eval__test=False), display=silent)
    assert evaluated(folder).evaluation.changed_code == []
    before = as_trained(folder, record)
    read = evaluate.revise

    def edited(*arguments: Any) -> Any:
        settings = read(*arguments)
        code = dataclasses.replace(settings.own_code, files={"tiny_runs.py": b"# edited", "more.py": b""})
        return dataclasses.replace(settings, own_code=code)

    monkeypatch.setattr(evaluate, "revise", edited)
    evaluation, path = evaluated(folder)
    assert evaluation.changed_code == ["tiny_runs.py"]
    console = Console(record=True, width=200, file=io.StringIO())
    print_evaluation(evaluation, path, console)
    assert "not what was trained: your own code was edited since (tiny_runs.py)" in console.export_text()
    assert before is not None
    assert as_trained(folder, record) == before
    assert path != before.path
