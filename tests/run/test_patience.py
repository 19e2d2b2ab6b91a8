"""train.patience: training ends where validation says so, and a resumed run ends at the same step."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from rich.console import Console

import metaexp as mx
from metaexp.cli.main import main
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.core.errors import ConfigError
from metaexp.machine.signals import Interrupted
from metaexp.run.first_record import Provenance
from metaexp.run.job import resume_job, run_job
from metaexp.run.progress import Lines
from metaexp.run.train import Trainer

SINUSOID = [
    "dataset=sinusoid", "model.hidden=[8]", "train.meta_batch_size=2", "train.eval_every=2", "train.eval_episodes=4",
    "train.log_every=3", "train.checkpoint_every=100", "eval.episodes=4", "device=cpu", "device.threads=1",
    "tracker=files",
]  # fmt: skip
STILL = "optimizer.lr=1e-30"
"""A rate at which no weight changes, so that no validation is better than the first."""


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take longer than these runs."""
    monkeypatch.setattr("metaexp.run.outputs.draw", lambda *_: {})


def steps(run: mx.Run) -> tuple[int, int | None]:
    return run.record.steps, run.record.selected_step


@pytest.mark.parametrize(("patience", "expected"), [(1, 4), (3, 8), (20, 20), ("null", 20)])
def test_training_ends_after_as_many_validations_without_a_better_one(
    tmp_path: Path, patience: int | str, expected: int
) -> None:
    run = mx.train(*SINUSOID, STILL, "train.steps=20", f"train.patience={patience}", folder=tmp_path / "run")
    assert steps(run) == (expected, 2)
    assert run.record.status == "completed"
    assert run.record.test is not None
    validated = [int(line["step"]) for line in run.metrics if "val/mse" in line]
    assert validated == list(range(2, expected + 1, 2))
    assert max(int(line["step"]) for line in run.metrics if "train/loss" in line) == expected
    assert mx.load_run(tmp_path / "run").learner() is not None


def test_training_that_gets_better_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "_is_best", lambda *_: True)
    run = mx.train(*SINUSOID, "train.steps=12", "train.patience=1", folder=tmp_path / "run")
    assert steps(run) == (12, 12)


def test_a_run_that_was_stopped_ends_at_the_same_step_with_the_same_numbers(tmp_path: Path) -> None:
    class StopAt(Lines):
        def show_validation(self, step: int, text: str) -> None:
            if step == 4:
                os.kill(os.getpid(), signal.SIGTERM)

    asked = [*SINUSOID, STILL, "train.steps=20", "train.patience=3"]
    whole = mx.train(*asked, folder=tmp_path / "whole")
    job = Composer().job(asked)
    with pytest.raises(Interrupted):
        run_job(job.settings, Provenance.of_job(job, None, asked), tmp_path / "cut", StopAt(Console(quiet=True)))
    assert mx.load_run(tmp_path / "cut").record.steps < 8
    resume_job(tmp_path / "cut")
    cut = mx.load_run(tmp_path / "cut")
    assert steps(cut) == steps(whole) == (8, 2)
    assert cut.metrics == whole.metrics
    longer = mx.train(*asked[:-1], "train.patience=4", folder=tmp_path / "longer")
    assert longer.metrics != whole.metrics


def test_no_patience_leaves_hashes_as_they_were_and_patience_does_not() -> None:
    composer = Composer()
    hashes = [composer.settings(more, Purpose.PLAN).config_hash for more in ([], ["train.patience=null"])]
    assert hashes[0] == hashes[1]
    assert composer.settings(["train.patience=5"], Purpose.PLAN).config_hash != hashes[0]


def test_patience_and_the_last_weights_contradict_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "train.patience=3", "eval.weights=last", "--cfg", "job"]) == 2
    assert "Set eval.weights=best, or train.patience=null" in capsys.readouterr().err
    assert main(["train", "train.patience=3", "--cfg", "job"]) == 0
    with pytest.raises(ConfigError, match="train.patience=0 must be"):
        Composer().settings(["train.patience=0"], Purpose.PLAN)


def test_a_run_that_ended_early_goes_on_with_more_patience(tmp_path: Path) -> None:
    run = mx.train(*SINUSOID, STILL, "train.steps=20", "train.patience=1", folder=tmp_path / "run")
    assert steps(run) == (4, 2)
    further = mx.train(f"from={run.folder}", "train.steps=12", "train.patience=null", folder=tmp_path / "more")
    assert steps(further) == (12, 2)
