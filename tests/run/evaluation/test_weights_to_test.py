"""``eval.weights``: a run tests the weights that are best on validation, or those after its last step."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from safetensors.torch import load_file

from metaexp.config.identity import config_hash
from metaexp.core.errors import ConfigError, NotFiniteError
from metaexp.core.metric import Metric
from metaexp.core.types import EvalResult
from metaexp.results.display.wording import format_selected
from metaexp.results.record import RunRecord
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.evaluation.evaluator import Evaluator
from metaexp.run.first_record import Provenance
from metaexp.run.initial.parent import read_further
from metaexp.run.job import run_job
from metaexp.run.progress import Lines

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
