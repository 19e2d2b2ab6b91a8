"""A run in Python, tested again: the number and the file of ``metaexp evaluate``, and nothing where it is refused."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

import metaexp as mx
from metaexp.cli.main import main
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.models.torch_settings import settings_now

SMALL = [
    "algorithm=maml", "model=mlp", "model.hidden=[8]", "dataset.train_classes=8", "dataset.val_classes=5",
    "dataset.test_classes=5", "dataset.per_class=12", "train.steps=3", "train.meta_batch_size=2", "train.eval_every=2",
    "train.eval_episodes=4", "eval.episodes=6", "device=cpu", "tracker=files", "device.threads=1",
]  # fmt: skip
OF_THE_MOMENT = ("finished",)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mx.train(*SMALL, folder=tmp_path_factory.mktemp("trained") / "run").folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> mx.Run:
    shutil.copytree(trained, tmp_path / "python" / "run")
    return mx.load_run(tmp_path / "python" / "run")


def later_tests(folder: Path) -> dict[str, Any]:
    """The files of the later tests of a run, without the time at which each was made."""
    found: dict[str, Any] = {}
    for path in (folder / "evaluations").glob("*"):
        found[path.name] = path.read_bytes()
        if path.suffix == ".json":
            content = json.loads(path.read_text())
            found[path.name] = {key: value for key, value in content.items() if key not in OF_THE_MOMENT}
    return found


@pytest.mark.parametrize("overrides", [[], ["task.k_shot=2", "eval.episodes=9", "algorithm.inner_steps_test=2"]])
def test_a_test_from_python_is_that_of_the_command_line_to_the_last_bit(
    trained: Path, run: mx.Run, tmp_path: Path, overrides: list[str]
) -> None:
    shutil.copytree(trained, tmp_path / "cli" / "run")
    assert main(["evaluate", str(tmp_path / "cli" / "run"), *overrides]) == 0
    found = run.evaluate(*overrides)
    expected = later_tests(tmp_path / "cli" / "run")
    assert later_tests(run.folder) == expected
    (record,) = (content for name, content in expected.items() if name.endswith(".json"))
    assert found.test.mean == record["test"]["mean"]
    assert found.overrides == overrides
    assert (found.test == run.record.test) == (not overrides)
    assert run.evaluate(*overrides, "eval.seed=7").test != found.test


def test_modes_of_torch_around_a_test_change_no_number(run: mx.Run) -> None:
    usual = run.evaluate("task.k_shot=2")
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
            again = run.evaluate("task.k_shot=2")
    finally:
        torch.set_default_dtype(torch.float32)
    assert (again.test, again.episodes_sha256) == (usual.test, usual.episodes_sha256)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["task.n_way=4"], "n_way"),
        (["task.k_shot=1,2"], "metaexp train -m and evaluate take them"),
        (["task.k_shott=1"], "Did you mean task.k_shot"),
        (["train.steps=9"], r"train\.steps has no effect on an evaluation"),
        ([["task.k_shot=1"]], "is not an override: each is a text"),
        (["from=elsewhere"], "from"),
        (["algorithm._target_=lab.Mine"], r"add --trust lab \(in Python: trust='lab' of train, load_run or dataset\)"),
    ],
)
def test_what_is_wrong_is_an_error_and_nothing_is_kept(run: mx.Run, overrides: list[Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run.evaluate(*overrides)
    assert later_tests(run.folder) == {}
    assert run.evaluate("task.k_shot=1").task.k_shot == 1


def test_a_choice_of_a_folder_of_ones_own_is_found_there(run: mx.Run, tmp_path: Path) -> None:
    (tmp_path / "conf" / "task").mkdir(parents=True)
    (tmp_path / "conf" / "task" / "mine.yaml").write_text("n_way: 5\nk_shot: 3\nn_query: 2\n")
    with pytest.raises(ConfigError, match="mine"):
        run.evaluate("task=mine")
    with pytest.raises(ConfigError, match=r"^config_dir=nope: there is no such folder"):
        run.evaluate(config_dir="nope")
    assert run.evaluate("task=mine", config_dir=tmp_path / "conf").task.k_shot == 3


def test_classes_that_were_trained_on_are_tested_only_where_that_is_allowed(
    run: mx.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run.evaluate().trained_classes == 0
    known = frozenset(run.record.training_classes[:1])
    monkeypatch.setattr(ClassDataset, "class_ids", lambda *_: {"known": known, "new": frozenset({"new"})})
    with pytest.raises(ConfigError, match=r"were trained on.*\(in Python: allow_trained_classes=True\)"):
        run.evaluate()
    assert run.evaluate(allow_trained_classes=True).trained_classes == 1


def test_a_run_that_was_edited_or_has_no_weights_is_refused(run: mx.Run) -> None:
    config = run.folder / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("inner_lr: ", "inner_lr: 1", 1))
    assert config.read_text() != text
    with pytest.raises(RunFolderError, match=r"config\.yaml"):
        run.evaluate()
    config.write_text(text)
    run.evaluate()
    shutil.rmtree(run.folder / "checkpoints")
    with pytest.raises(RunFolderError, match="weights"):
        run.evaluate()


def test_a_later_test_is_shown_in_one_line(run: mx.Run) -> None:
    shown = repr(run.evaluate("task.k_shot=2"))
    assert shown.startswith("<Evaluation of run: maml on glyphs, 5-way 2-shot: test accuracy ")
    assert shown.endswith(" %, 6 episodes, with task.k_shot=2>")
    assert " with " not in repr(run.evaluate())


def test_the_later_tests_of_a_run_are_listed_from_the_oldest_to_the_newest(run: mx.Run) -> None:
    assert run.evaluations == []
    made = [run.evaluate("task.k_shot=2"), run.evaluate("eval.seed=7")]
    assert run.evaluations == mx.load_run(run.folder).evaluations
    assert sorted(run.evaluations, key=lambda test: test.overrides, reverse=True) == made
    assert [test.finished for test in run.evaluations] == sorted(test.finished for test in made)
    assert main(["evaluate", str(run.folder), "task.k_shot=3"]) == 0
    assert {test.task.k_shot for test in run.evaluations} == {1, 2, 3}
    for path in (run.folder / "evaluations").glob("*.json"):
        path.write_text("{")
    assert run.evaluations == []


def test_threads_that_test_at_once_get_the_numbers_of_one(run: mx.Run) -> None:
    shots = [1, 2, 3, 1, 2, 3]
    alone = {k: run.evaluate(f"task.k_shot={k}").test for k in (1, 2, 3)}
    settings = settings_now()
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda k: run.evaluate(f"task.k_shot={k}").test, shots))
    assert together == [alone[k] for k in shots]
    assert alone[1] != alone[2]
    assert settings_now() == settings
