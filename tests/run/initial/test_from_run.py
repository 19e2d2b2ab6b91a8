"""A run that continues another one equals a longer run from the start, or says why it does not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from kept_runs import KeptRuns
from known_classes import forbid

from metaexp.cli.main import main
from metaexp.compare.gather import gather
from metaexp.compare.rows import rows
from metaexp.compare.why import explain, read_side
from metaexp.config.compose import Composer
from metaexp.config.identity import numeric_part
from metaexp.config.purpose import Purpose
from metaexp.core.disk.locks import hold_lock
from metaexp.core.errors import ConfigError, DataError, RunFolderError
from metaexp.machine.signals import Interrupted
from metaexp.reproduce.rerun import plan_rerun, rerun
from metaexp.results.record import RunRecord, read_record, write_record
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.initial.command import Provenance
from metaexp.run.initial.parent import _changes, read_further
from metaexp.run.job import resume_job, run_job
from metaexp.run.progress import Lines

STEADY = {"_target_": "tiny_runs.SteadyMAML", "inner_lr": 0.1}


def result_of(folder: Path, steps: int = 20) -> dict[str, bytes]:
    """The files that must be equal, byte for byte."""
    checkpoints = [f"checkpoints/{name}.safetensors" for name in ("best", f"step_{steps:09d}")]
    return {name: (folder / name).read_bytes() for name in ["metrics.jsonl", "test_episodes.csv", *checkpoints]}


@pytest.fixture
def parent_of(tiny: ModuleType, tmp_path: Path, silent: Lines, kept_runs: KeptRuns) -> Callable[..., Path]:
    """Returns a completed run to go on from, whose settings have these changes."""

    def parent(**changes: Any) -> Path:
        def train(outputs: Path) -> Path:
            settings = tiny.settings(outputs, **{"algorithm": STEADY, **changes})
            folder: Path = run_job(settings, folder=outputs / "parent", display=silent).folder
            return folder

        return kept_runs.copy(f"parent {changes}", tmp_path, train)

    return parent


def go_on(parent: Path, display: Lines, *overrides: str, folder: Path | None = None) -> tuple[RunRecord, Path]:
    further = read_further([f"from={parent}", *overrides])
    return run_job(further.settings, Provenance.of_further(further), folder, display)


def from_start(tiny: ModuleType, tmp_path: Path, silent: Lines, **changes: Any) -> Path:
    settings = tiny.settings(tmp_path, **{"algorithm": STEADY, "train__steps": 20, **changes})
    return run_job(settings, display=silent).folder


def test_a_run_that_goes_on_equals_a_longer_run_from_the_start(
    parent_of: Callable[..., Path], tiny: ModuleType, tmp_path: Path, silent: Lines
) -> None:
    parent = parent_of()
    before = {path: path.read_bytes() for path in parent.rglob("*") if path.is_file() and path.name != ".lock"}
    record, folder = go_on(parent, silent, "train.steps=20")
    assert {path: path.read_bytes() for path in before} == before
    longer = from_start(tiny, tmp_path, silent)
    assert result_of(folder) == result_of(longer)
    twin = read_record(longer)
    assert (record.status, record.steps, record.exact_resume) == ("completed", 20, True)
    assert (record.config_hash, record.test, record.val) == (twin.config_hash, twin.test, twin.val)
    assert result_of(folder) != result_of(from_start(tiny, tmp_path, silent, seed=1))


def test_the_record_names_the_parent(parent_of: Callable[..., Path], silent: Lines) -> None:
    parent = parent_of()
    record, folder = go_on(parent, silent, "train.steps=20")
    found = read_record(folder).parent
    assert found is not None
    assert found == record.parent
    assert (found.name, found.step, found.steps) == ("parent", 12, 12)
    assert found.config_hash == read_record(parent).config_hash != record.config_hash
    assert found.record_sha256 == hashlib.sha256((parent / "record.json").read_bytes()).hexdigest()
    weights = (parent / "checkpoints" / "step_000000012.safetensors").read_bytes()
    assert found.weights_sha256 == hashlib.sha256(weights).hexdigest()
    assert (found.not_from_start, found.branch) == ([], None)
    assert read_record(parent).parent is None


def test_an_interrupted_run_can_be_gone_on_from(
    tiny: ModuleType, tmp_path: Path, silent: Lines, stop_after: Callable[..., Lines]
) -> None:
    stopped = tmp_path / "stopped"
    with pytest.raises(Interrupted):
        run_job(tiny.settings(tmp_path, algorithm=STEADY, train__steps=15), folder=stopped, display=stop_after(7))
    record, folder = go_on(stopped, silent, "train.steps=20")
    assert result_of(folder) == result_of(from_start(tiny, tmp_path, silent))
    assert record.parent is not None
    assert (record.parent.step, record.parent.steps) == (7, 15)


def test_it_can_be_stopped_and_resumed_and_gone_on_from_again(
    parent_of: Callable[..., Path], tiny: ModuleType, tmp_path: Path, silent: Lines, stop_after: Callable[..., Lines]
) -> None:
    parent = parent_of()
    child = tmp_path / "child"
    with pytest.raises(Interrupted):
        go_on(parent, stop_after(14), "train.steps=16", folder=child)
    shutil.move(parent, tmp_path / "moved")
    record, _ = resume_job(child, silent)
    assert record.parent is not None
    assert (record.status, record.parent.name) == ("completed", "parent")
    grandchild, folder = go_on(child, silent, "train.steps=20")
    assert grandchild.parent is not None
    assert grandchild.parent.name == "child"
    assert any("a line of metrics was written after step 16" in why for why in grandchild.parent.not_from_start)
    longer = from_start(tiny, tmp_path, silent)
    ends = [f"checkpoints/{name}.safetensors" for name in ("best", "step_000000020")]
    assert all((folder / name).read_bytes() == (longer / name).read_bytes() for name in ends)


def test_a_run_killed_before_it_had_a_record_still_knows_how_it_began(
    parent_of: Callable[..., Path], tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = parent_of()
    killed = tmp_path / "killed"
    with monkeypatch.context() as patch:
        forbid(patch, "metaexp.run.job._run")
        with pytest.raises(AssertionError, match="_run was called"):
            go_on(parent, silent, "train.steps=20", folder=killed)
    assert not (killed / "record.json").exists()
    record, folder = resume_job(killed, silent)
    whole, _ = go_on(parent, silent, "train.steps=20")
    assert record.parent == whole.parent is not None
    assert record.overrides == whole.overrides == ["train.steps=20"]
    assert result_of(folder) == result_of(from_start(tiny, tmp_path, silent))


@pytest.mark.parametrize(
    ("changes", "steps", "sentence"),
    [
        ({"schedule": {"_target_": "metaexp.core.optim.Linear", "final": 0.0}}, 20,
         "schedule=Linear depends on train.steps, which was 12 up to step 12"),
        ({"algorithm": {"_target_": "tiny_runs.TinyMAML", "inner_lr": 0.1}}, 20,
         "algorithm=tiny depends on train.steps, which was 12 up to step 12"),
        ({"train__steps": 10}, 20, "it was validated after step 10, its last one then"),
        ({"train__steps": 10}, 20, "a line of metrics was written after step 10, its last one then"),
    ],
)  # fmt: skip
def test_differences_from_a_run_from_the_start_are_printed(
    parent_of: Callable[..., Path],
    tiny: ModuleType,
    tmp_path: Path,
    silent: Lines,
    changes: dict[str, Any],
    steps: int,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    parent = parent_of(**changes)
    further = read_further([f"from={parent}", f"train.steps={steps}"])
    finished = run_job(further.settings, Provenance.of_further(further))
    found = read_record(finished.folder).parent
    assert found is not None
    assert sentence in found.not_from_start
    assert f"; a run of as many steps from the start would differ: {'; '.join(found.not_from_start)}" in (
        capsys.readouterr().err
    )
    assert result_of(finished.folder) != result_of(from_start(tiny, tmp_path, silent, **changes | {"train__steps": 20}))


def test_what_the_parent_began_at_and_how_it_went_on_stays_in_the_record(
    parent_of: Callable[..., Path], tiny: ModuleType, tmp_path: Path, silent: Lines
) -> None:
    donor = run_job(tiny.settings(tmp_path, seed=3), display=silent).folder
    model = {"_target_": "tiny_runs.Net", "width": 8, "dropout": 0.1, "weights": str(donor)}
    parent = parent_of(model=model)
    shutil.rmtree(donor)
    write_record(dataclasses.replace(read_record(parent), exact_resume=False), parent)
    record, folder = go_on(parent, silent, "train.steps=20")
    assert record.initial_weights is not None
    assert record.initial_weights == read_record(parent).initial_weights == read_record(folder).initial_weights
    assert not record.exact_resume


def test_a_changed_interval_is_printed(parent_of: Callable[..., Path]) -> None:
    parent = parent_of()
    further = read_further([f"from={parent}", "train.steps=20", "train.eval_every=2", "train.checkpoint_every=1"])
    assert further.parent.run.not_from_start == ["train.eval_every was 4 up to step 12"]


@pytest.mark.parametrize(
    "override", ["seed=1", "algorithm.inner_lr=0.2", "dataset.version=b", "train.meta_batch_size=2", "eval.seed=5",
                 "device.precision=bf16", "optimizer.lr=0.1", "train.eval_episodes=3", "model.width=9"],
)  # fmt: skip
def test_what_decided_the_steps_so_far_cannot_change(parent_of: Callable[..., Path], override: str) -> None:
    parent = parent_of()
    key = override.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"{key} cannot change in .* give model\.weights=.*parent instead of from="):
        read_further([f"from={parent}", "train.steps=20", override])


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ([], "give train.steps=N with from="),
        (["train.log_every=2"], r"more than the 12 that it has\.$"),
        (["eval.episodes=9"], r"more than the 12 that it has, or 12 to only test it again\.$"),
        (["train.steps=12"], "train.steps=12 is not more than the 12 steps that"),
        (["train.steps=20", "train.stps=1"], "Did you mean train.steps"),
        (["train.steps=20", "from=elsewhere"], "from= is given 2 times"),
        (["train.steps=20", "hydra.job.chdir=true"], r"hydra\.job\.chdir cannot be set"),
        (["train.steps=20", "hydra/launcher=basic"], "hydra/launcher=basic cannot be chosen for an earlier run"),
    ],
)
def test_a_run_without_more_steps_is_refused(
    parent_of: Callable[..., Path], overrides: list[str], problem: str
) -> None:
    parent = parent_of()
    with pytest.raises(ConfigError, match=problem):
        read_further([f"from={parent}", *overrides])


def test_a_folder_that_cannot_be_gone_on_from_is_refused(parent_of: Callable[..., Path]) -> None:
    with pytest.raises(RunFolderError, match="there is no such folder"):
        read_further(["from=nowhere", "train.steps=20"])
    with pytest.raises(ConfigError, match=r"from=one,other holds several values; add -m"):
        read_further(["from=one,other", "train.steps=20"])
    parent = parent_of()
    with hold_lock(parent / ".lock"), pytest.raises(RunFolderError, match="is still running; wait for it to end"):
        read_further([f"from={parent}", "train.steps=20"])
    text = (parent / "config.yaml").read_text()
    (parent / "config.yaml").write_text(text.replace("seed: 0", "seed: 1"))
    with pytest.raises(RunFolderError, match="changed since the run began"):
        read_further([f"from={parent}", "train.steps=20"])
    (parent / "config.yaml").write_text(text)
    shutil.rmtree(parent / "checkpoints")
    with pytest.raises(RunFolderError, match="has no checkpoint to continue from"):
        read_further([f"from={parent}", "train.steps=20"])


@pytest.mark.parametrize("left", [None, 0, 40])
def test_a_parent_that_lost_metrics_is_refused_before_anything_is_written(
    parent_of: Callable[..., Path], left: int | None
) -> None:
    parent = parent_of()
    assert read_further([f"from={parent}", "train.steps=20"]).parent.run.step == 12
    if left is None:
        (parent / "metrics.jsonl").unlink()
    else:
        os.truncate(parent / "metrics.jsonl", left)
    with pytest.raises(RunFolderError, match=rf"metrics\.jsonl has lost lines: it has {left or 0} bytes"):
        read_further([f"from={parent}", "train.steps=20"])


def test_a_parent_whose_last_checkpoint_is_gone_is_said(
    parent_of: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    parent = parent_of()
    assert read_further([f"from={parent}", "train.steps=20"]).parent.run.step == 12
    assert caplog.messages == []
    (parent / "checkpoints" / "step_000000012.json").unlink()
    assert read_further([f"from={parent}", "train.steps=20"]).parent.run.step == 10
    assert "made 12 steps, and its newest whole checkpoint is of step 10." in caplog.messages[0]


def test_a_parent_that_changes_after_the_check_is_refused(
    parent_of: Callable[..., Path], tiny: ModuleType, tmp_path: Path, silent: Lines
) -> None:
    parent = parent_of()
    further = read_further([f"from={parent}", "train.steps=20"])
    provenance = Provenance.of_further(further)
    metrics = parent / "metrics.jsonl"
    text = metrics.read_bytes()
    metrics.write_bytes(text.replace(b'"step": 3', b'"step": 2'))
    with pytest.raises(RunFolderError, match="are not those that the run wrote"):
        run_job(further.settings, provenance, display=silent)
    metrics.write_bytes(text)
    other = run_job(tiny.settings(tmp_path, algorithm=STEADY, seed=1), display=silent).folder
    shutil.rmtree(parent / "checkpoints")
    shutil.copytree(other / "checkpoints", parent / "checkpoints")
    with pytest.raises(RunFolderError, match="was changed since this run was composed"):
        run_job(further.settings, provenance, display=silent)


def test_other_data_are_refused_before_anything_is_written(
    parent_of: Callable[..., Path], tmp_path: Path, silent: Lines
) -> None:
    parent = parent_of()
    path = parent / "record.json"
    record = json.loads(path.read_text())
    further = read_further([f"from={parent}", "train.steps=20"])
    further = further._replace(record=read_record(parent))
    object.__setattr__(further.record, "data_hash", "0" * 64)
    assert record["data_hash"] != "0" * 64
    with pytest.raises(DataError, match="the data are not those of the run that is repeated or continued"):
        run_job(further.settings, Provenance.of_further(further), tmp_path / "new", silent)
    assert not (tmp_path / "new").exists()


def test_the_other_verbs_know_the_parent(
    parent_of: Callable[..., Path], tiny: ModuleType, tmp_path: Path, silent: Lines
) -> None:
    parent = parent_of()
    _, same = go_on(parent, silent, "train.steps=20")
    longer = from_start(tiny, tmp_path, silent)
    assert evaluate_run(same, display=silent).evaluation.test == read_record(same).test
    found = explain(read_side(same), read_side(longer), numeric_part)
    assert ("continues", "parent, step 12", "no other run") in [finding[1:] for finding in found.findings]
    done = rerun(plan_rerun(same, [f"paths.outputs={tmp_path}"]), silent)
    assert done.result.identical
    (kept,) = gather([same, longer]).runs  # the same numbers: one run
    assert len(rows([kept], [], numeric_part)) == 1


def test_a_run_that_is_not_as_from_the_start_stands_in_a_row_of_its_own(
    parent_of: Callable[..., Path], tiny: ModuleType, tmp_path: Path, silent: Lines
) -> None:
    annealed = {"algorithm": {"_target_": "tiny_runs.TinyMAML", "inner_lr": 0.1}}
    parent = parent_of(**annealed)
    _, other = go_on(parent, silent, "train.steps=20")
    longer = from_start(tiny, tmp_path, silent, **annealed)
    found = rows(gather([other, longer]).runs, [], numeric_part)
    assert sorted(row.label for row in found) == ["tiny from=-", "tiny from=step 12 of 12"]
    with pytest.raises(ConfigError, match="a run from the start would be another one"):
        plan_rerun(other, [f"paths.outputs={tmp_path}"])


def test_the_command_line_and_python_go_on_alike(
    parent_of: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import metaexp

    monkeypatch.chdir(tmp_path)
    parent = parent_of()
    assert main(["train", "--trust", "tiny_runs", f"from={parent}", "train.steps=20", "hydra.run.dir=by_command"]) == 0
    made = metaexp.train(f"from={parent}", "train.steps=20", folder=tmp_path / "by_python")
    assert result_of(tmp_path / "by_command") == result_of(made.folder)
    assert made.record.parent == read_record(tmp_path / "by_command").parent
    capsys.readouterr()
    assert main(["train", f"from={parent}", "train.steps=20", "--cfg", "job"]) == 0
    assert "steps: 20" in capsys.readouterr().out
    assert main(["train", f"resume={parent}", "train.steps=20"]) == 2
    assert f"To train for longer: metaexp train from={parent} train.steps=20" in capsys.readouterr().err
    assert main(["train", f"resume={parent}", "seed=3"]) == 2
    assert "start a new run" in capsys.readouterr().err
    assert main(["search", f"from={parent}", "search.trials=1", "optimizer.lr=interval(0.1,0.2)"]) == 2
    assert "continues a run; use it with metaexp train" in capsys.readouterr().err


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_parent_that_cannot_be_written_is_gone_on_from(parent_of: Callable[..., Path], silent: Lines) -> None:
    parent = parent_of()
    for path in [parent, *parent.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert go_on(parent, silent, "train.steps=20")[0].status == "completed"


@pytest.mark.parametrize(
    ("key", "value", "refused"),
    [
        ("train.patience", None, False),
        ("eval.metrics", [], False),
        ("device.cuda_graphs", True, False),
        ("dataset.task_as_input", False, False),
        ("dataset.task_as_input", True, True),
        ("train.meta_batch_size", 25, True),
    ],
)
def test_a_key_that_was_added_since_is_not_a_change_at_its_default(
    tmp_path: Path, key: str, value: object, refused: bool
) -> None:
    now = Composer().settings(["experiment=maml_sinusoid"], Purpose.PLAN).resolved
    section, name = key.split(".")
    now = {**now, section: {**now[section], name: value}}
    then = {**now, section: {k: v for k, v in now[section].items() if k != name}}
    (problem,) = _changes(then, now, tmp_path) or [""]
    assert problem.startswith(f"{key} cannot change in a run that continues another.") == refused
    assert problem.count("eval.episodes") == (1 if refused else 0)
