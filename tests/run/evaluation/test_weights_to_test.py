"""``eval.weights``: a run tests the weights that are best on validation, or those after its last step."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from safetensors.torch import load_file

from metaexp.algorithms.nearest_neighbour import NearestNeighbour
from metaexp.config.identity import config_hash
from metaexp.core.errors import ConfigError, NotFiniteError, RunFolderError
from metaexp.core.metric import Metric
from metaexp.core.types import EvalResult
from metaexp.results.display.wording import format_selected
from metaexp.results.record import RunRecord
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.evaluation.evaluator import Evaluator
from metaexp.run.evaluation.selection import apply_weights
from metaexp.run.first_record import Provenance
from metaexp.run.initial.algorithm import build_algorithm
from metaexp.run.initial.network import Interface
from metaexp.run.initial.parent import read_further
from metaexp.run.job import run_job
from metaexp.run.progress import Lines
from metaexp.run.state import copy_weights

STEADY = {"_target_": "tiny_runs.SteadyMAML", "inner_lr": 0.1}


@pytest.fixture
def first_is_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """No validation is better than the first."""
    monkeypatch.setattr(Metric, "is_better", lambda *_: False)


def weights_of(folder: Path, name: str) -> dict[str, Any]:
    prefix = "" if name == "best" else "weights/"
    tensors = load_file(folder / "checkpoints" / f"{name}.safetensors")
    return {key.removeprefix(prefix): t.tolist() for key, t in tensors.items() if key.startswith(prefix)}


def trained(tiny: ModuleType, place: Path, silent: Lines, **changes: Any) -> tuple[RunRecord, Path]:
    settings = tiny.settings(place, **{"algorithm": STEADY, **changes})
    run: tuple[RunRecord, Path] = run_job(settings, folder=place / "run", display=silent)
    return run


@pytest.mark.usefixtures("first_is_best")
@pytest.mark.parametrize(("weights", "step"), [("best", 4), ("last", 12)])
def test_the_weights_that_the_key_names_are_tested_and_kept(
    tiny: ModuleType, tmp_path: Path, silent: Lines, weights: str, step: int
) -> None:
    record, folder = trained(tiny, tmp_path, silent, eval__weights=weights)
    assert record.selected_step == step
    assert record.tests_last == (weights == "last")
    assert weights in format_selected(record)
    assert (weights_of(folder, "best") == weights_of(folder, "step_000000012")) == (weights == "last")
    assert record.test is not None
    assert evaluate_run(folder, display=silent).evaluation.test == record.test


@pytest.mark.usefixtures("first_is_best")
def test_an_interrupted_run_is_evaluated_with_its_last_weights(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    settings = tiny.settings(tmp_path, algorithm=STEADY, eval__weights="last")
    record, folder = run_job(settings, folder=tmp_path / "run", display=silent, stop_after=8)
    assert record.status == "interrupted"
    assert evaluate_run(folder, display=silent).evaluation.selected_step == 8


def test_the_default_leaves_hashes_as_they_were_and_last_is_another_run(tiny: ModuleType, tmp_path: Path) -> None:
    before = tiny.settings(tmp_path).resolved
    without = {**before, "eval": {key: v for key, v in before["eval"].items() if key != "weights"}}
    assert config_hash(before | {"eval": before["eval"] | {"weights": "best"}}) == config_hash(without)
    assert config_hash(before | {"eval": before["eval"] | {"weights": "last"}}) != config_hash(without)


def test_another_word_is_refused_with_the_two_that_there_are(tiny: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"eval\.weights=newest .*best.*last"):
        tiny.settings(tmp_path, eval__weights="newest")


def test_last_weights_without_a_finite_validation_are_refused(
    tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = Evaluator.validate
    calls = iter(range(10))

    def third_is_nan(self: Evaluator, *args: Any) -> EvalResult:
        result = validate(self, *args)
        return result._replace(mean=math.nan) if next(calls) == 2 else result

    monkeypatch.setattr(Evaluator, "validate", third_is_nan)
    with pytest.raises(NotFiniteError, match=r"after the last step, 12, gave no finite result.*eval\.weights=best"):
        trained(tiny, tmp_path, silent, eval__weights="last")


@pytest.mark.usefixtures("first_is_best")
def test_the_last_weights_of_a_finished_run_are_tested_without_training_again(
    tiny: ModuleType, tmp_path: Path, silent: Lines
) -> None:
    _, parent = trained(tiny, tmp_path, silent)
    further = read_further([f"from={parent}", "train.steps=12", "eval.weights=last", "task.k_shot=2"])
    record, folder = run_job(further.settings, Provenance.of_further(further), tmp_path / "child", silent)
    assert (record.selected_step, record.task.k_shot, record.config["train"]["k_shot"]) == (12, 2, 4)
    assert weights_of(folder, "best") == weights_of(parent, "step_000000012") != weights_of(parent, "best")
    assert record.parent is not None
    assert record.parent.not_from_start == ["it was validated on other tasks up to step 12"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["eval.weights=best", "task.k_shot=2"], r"task\.k_shot cannot change"),
        (["eval.weights=last", "train.k_shot=2"], r"train\.k_shot cannot change"),
        (["tracker=files"], "is not more than the 12 steps"),
    ],
)
def test_what_would_change_the_training_or_change_nothing_is_refused(
    tiny: ModuleType, tmp_path: Path, silent: Lines, overrides: list[str], message: str
) -> None:
    _, parent = trained(tiny, tmp_path, silent)
    with pytest.raises(ConfigError, match=message):
        read_further([f"from={parent}", "train.steps=12", *overrides])


SUPERVISED: dict[str, dict[str, Any]] = {
    "fine_tune": {
        "_target_": "metaexp.algorithms.fine_tune.FineTune", "head": "linear", "cosine_scale": 2.0, "tune": "head",
        "tune_steps": 5, "tune_lr": 0.1, "tune_weight_decay": 0.001,
    },
    "nearest_neighbour": {
        "_target_": "metaexp.algorithms.nearest_neighbour.NearestNeighbour", "space": "embedding",
        "distance": "cosine",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SUPERVISED)
def test_a_classifier_of_training_classes_is_not_saved_with_the_selected_weights(
    tiny: ModuleType, tmp_path: Path, silent: Lines, name: str
) -> None:
    settings = tiny.blobs(tmp_path, train__n_way=6, algorithm=SUPERVISED[name])
    record, folder = run_job(settings, folder=tmp_path / "run", display=silent)
    saved, state = weights_of(folder, "best"), weights_of(folder, "step_000000012")
    assert set(state) - set(saved) == {"head.weight", "head.bias"}
    assert record.test is not None
    assert evaluate_run(folder, display=silent).evaluation.test == record.test


def test_a_run_is_tested_with_what_it_saved_so_a_weight_that_is_missing_is_noticed(
    tiny: ModuleType, tmp_path: Path, silent: Lines
) -> None:
    algorithm = {**SUPERVISED["fine_tune"], "_target_": "tiny_runs.Forgetful"}
    model = {"_target_": "tiny_runs.Features"}
    settings = tiny.blobs(tmp_path, train__n_way=6, algorithm=algorithm, model=model)
    problem = r"episodes 0, 1, .* is not finite\. If a test reads head\.bias, head\.weight, model\..*, take it out of "
    with pytest.raises(NotFiniteError, match=problem):
        run_job(settings, folder=tmp_path / "run", display=silent)
    assert "model.body.weight" in weights_of(tmp_path / "run", "step_000000012")


def test_the_last_layer_of_a_regression_is_saved_since_tests_go_on_from_it(
    tiny: ModuleType, tmp_path: Path, silent: Lines
) -> None:
    model = {"_target_": "tiny_runs.Features"}
    _, folder = trained(tiny, tmp_path, silent, algorithm=SUPERVISED["fine_tune"], model=model)
    assert {"head.weight", "head.bias"} <= set(weights_of(folder, "best"))


def test_what_was_not_saved_is_nan_in_a_loaded_algorithm_and_all_else_must_be_there(
    tiny: ModuleType, tmp_path: Path
) -> None:
    settings = tiny.blobs(tmp_path, train__n_way=6, algorithm=SUPERVISED["nearest_neighbour"])
    algorithm = build_algorithm(settings, Interface((2,), 6))
    assert isinstance(algorithm, NearestNeighbour)
    assert algorithm.head is not None
    weights = copy_weights(algorithm)
    kept = {name: t for name, t in weights.items() if name not in algorithm.only_for_training}
    apply_weights(algorithm, settings, 1, kept)
    assert algorithm.head.weight.isnan().all()
    assert not any(t.isnan().any() for name, t in copy_weights(algorithm).items() if name in kept)
    kept.pop(next(iter(kept)))
    with pytest.raises(RunFolderError, match="is missing"):
        apply_weights(algorithm, settings, 1, kept)
