"""A checkpoint whose values are of other kinds is refused, even where its digests were made to fit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import safetensors.torch

from metaexp.core.errors import RunFolderError
from metaexp.results.checkpoint_values import check_values
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.job import resume_job, run_job
from metaexp.run.progress import Lines


def forge(path: Path, key: str, value: Any) -> None:
    """Put a value into a manifest (``...`` removes the key), with the digest that fits."""
    manifest = json.loads(path.read_text())
    manifest["values"] |= {key: value}
    if value is ...:
        del manifest["values"][key]
    text = json.dumps(manifest["values"], sort_keys=True).encode()
    manifest["sha256"]["values"] = hashlib.sha256(text).hexdigest()
    path.write_text(json.dumps(manifest))


WRONG = [
    ("step", "7"), ("step", -1), ("step", True), ("step", 10**30), ("step", ...), ("losses", ["a"]), ("losses", None),
    ("gradient_norms", {}), ("best", [1, 2]), ("best", [4, "x", 1.0, 6]), ("best", ...), ("unvalidated", "no"),
    ("metrics_position", None), ("metrics_sha256", 5), ("interface", [[1]]), ("interface", [["a"], 1]),
    ("environment", []), ("optimizer", "text"), ("optimizer", {"groups": [], "slots": {"x": {}}}), ("config_hash", 5),
    ("optimizer", {"groups": {}, "slots": {}}), ("data_hash", ...),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG, ids=str)
def test_values_of_another_kind_are_refused(stopped: Path, silent: Lines, key: str, value: Any) -> None:
    for path in (stopped / "checkpoints").glob("step_*.json"):
        forge(path, key, value)
    for verb in (resume_job, evaluate_run):
        with pytest.raises(RunFolderError, match=rf"step_000000007\.json does not hold .*key {key}"):
            verb(stopped, display=silent)


@pytest.mark.parametrize(
    "value", [{"groups": [{"lr": "x"}], "slots": {}}, {"groups": [{"lr": 0.1}], "slots": {"0": {}}}]
)
def test_a_state_that_the_optimiser_cannot_use_is_refused(stopped: Path, silent: Lines, value: Any) -> None:
    for path in (stopped / "checkpoints").glob("step_*.json"):
        forge(path, "optimizer", value)
    with pytest.raises(RunFolderError, match=r"step_000000007\.json does not hold|of the optimiser does not fit"):
        resume_job(stopped, silent)


def test_a_setting_that_the_optimiser_asserts_against_is_refused(stopped: Path, silent: Lines) -> None:
    for path in (stopped / "checkpoints").glob("step_*.json"):
        state = json.loads(path.read_text())["values"]["optimizer"]
        state["groups"][0]["capturable"] = True
        forge(path, "optimizer", state)
    with pytest.raises(RunFolderError, match=r"step_000000007\.json does not hold what a run saves \(AssertionError"):
        resume_job(stopped, silent)


def test_tensors_of_the_optimiser_that_do_not_fit_are_refused_at_the_first_step(stopped: Path, silent: Lines) -> None:
    for path in (stopped / "checkpoints").glob("step_*.safetensors"):
        tensors = safetensors.torch.load(path.read_bytes())
        content = safetensors.torch.save(
            {name: t[:1].clone() if name.endswith("exp_avg") else t for name, t in tensors.items()}
        )
        path.write_bytes(content)
        manifest = json.loads(path.with_suffix(".json").read_text())
        manifest["sha256"]["tensors"] = hashlib.sha256(content).hexdigest()
        path.with_suffix(".json").write_text(json.dumps(manifest))
    with pytest.raises(RunFolderError, match=r"step_000000007\.json does not hold what a run saves \(RuntimeError"):
        resume_job(stopped, silent)


@pytest.mark.parametrize(("key", "value"), [("step", ...), ("interface", 5), ("mean", float("nan"))], ids=str)
def test_selected_weights_with_other_values_are_refused(
    tiny: ModuleType, tmp_path: Path, silent: Lines, key: str, value: Any
) -> None:
    folder = run_job(tiny.settings(tmp_path), display=silent).folder
    forge(folder / "checkpoints" / "best.json", key, value)
    with pytest.raises(RunFolderError, match=rf"best\.json does not hold what a run saves \(key {key}"):
        evaluate_run(folder, display=silent)


def test_values_that_a_run_saved_are_taken(stopped: Path, silent: Lines) -> None:
    for path in (stopped / "checkpoints").glob("step_*.json"):
        forge(path, "unvalidated", False)
    assert resume_job(stopped, silent).record.status == "completed"


@pytest.mark.parametrize("values", [[], "text", None, 5])
def test_values_that_are_not_a_mapping_are_refused(values: object) -> None:
    with pytest.raises(RunFolderError, match=rf"step\.json does not hold .*{type(values).__name__}, not a mapping"):
        check_values(Path("step"), values, ())


def test_a_run_that_trains_nothing_has_no_optimiser_and_no_best() -> None:
    right = {"step": 0, "optimizer": None, "best": None}
    check_values(Path("step"), right, ("step", "optimizer"))
    for wrong in ({"optimizer": False}, {"best": 0}, {"step": -1}):
        with pytest.raises(RunFolderError, match=f"key {next(iter(wrong))} is"):
            check_values(Path("step"), right | wrong, ("step",))
