"""Where validation classes are trained on, nothing is chosen by validation, and looking at the data is allowed."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import metaexp as mx
from metaexp.cli.main import main
from metaexp.config.classes.make import make
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.data.base import Dataset
from metaexp.doctor.dataset import splits
from metaexp.run.job import run_job

DATASET = ["dataset=omniglot", "dataset.split=vinyals_trainval", "dataset.stand_in=true", "dataset.stand_in_images=5"]
RUN = [
    *DATASET, "algorithm=proto_net", "model=mlp", "model.hidden=[4]", "task.n_query=2", "train.steps=1",
    "train.n_way=5", "train.n_query=2", "train.meta_batch_size=1", "train.eval_episodes=1", "eval.episodes=2",
    "eval.weights=last", "device=cpu", "tracker=files",
]  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, no_figures: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METAEXP_DATA", str(tmp_path))


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ([], "eval.weights=best"),
        (["eval.weights=last", "train.patience=3"], "train.patience=3"),
        (["eval.weights=last"], None),
        (["train.steps=0"], None),
    ],
)
def test_it_chooses_no_weights(given: list[str], wrong: str | None) -> None:
    overrides = [*DATASET[:2], "algorithm=proto_net", "device=cpu", *given]
    if wrong is None:
        Composer().settings(overrides)
        return
    with pytest.raises(mx.ConfigError, match=f"so validation cannot choose: {wrong}. Set eval.weights=last") as caught:
        Composer().settings(overrides)
    assert "dataset=omniglot trains on the validation classes, too" in str(caught.value)


def test_nor_in_a_mixture() -> None:
    overrides = ["dataset=multi_domain", "algorithm=proto_net", "device=cpu", "eval.weights=best"]
    Composer().settings(overrides)
    with pytest.raises(mx.ConfigError, match="so validation cannot choose: eval.weights=best"):
        Composer().settings([*overrides, "dataset.domains.omniglot.split=vinyals_trainval"])


def test_a_run_trains_on_both_and_can_neither_calibrate_nor_be_tested_with_other_weights(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = mx.train(*RUN, folder="run")
    assert run.record.status == "completed"
    assert run.record.test is not None
    assert main(["show", "run"]) == 0
    assert "validation (172 classes trained on)" in capsys.readouterr().out
    assert main(["evaluate", "run", "eval.weights=best"]) == 2
    assert "eval.weights has no effect on an evaluation" in capsys.readouterr().err
    with pytest.raises(mx.ConfigError, match="cannot calibrate prediction sets for new classes"):
        run.calibrate(0.9, episodes=20)


def test_own_data_that_validate_on_training_tasks_say_so_in_the_record(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    episodes = tiny.LineTasks.episodes
    for_val = {"train": "train", "val": "train", "test": "test"}
    monkeypatch.setattr(
        tiny.LineTasks, "episodes", lambda self, split, indices: episodes(self, for_val[split], indices)
    )
    with pytest.raises(mx.ConfigError, match="same episodes for validation as for training.* val_in_train = True"):
        run_job(tiny.settings(tmp_path / "silent", eval__weights="last"))
    monkeypatch.setattr(tiny.Lines, "val_in_train", True)
    with pytest.raises(mx.ConfigError, match="so validation cannot choose: eval.weights=best"):
        tiny.settings(tmp_path / "best")
    done = run_job(tiny.settings(tmp_path / "said", eval__weights="last"))
    assert done.record.val_in_train
    assert main(["show", str(done.folder)]) == 0
    assert "validation (trained on)" in capsys.readouterr().out


def test_the_data_can_be_looked_at_and_examined(capsys: pytest.CaptureFixture[str]) -> None:
    loaded = mx.dataset("omniglot", *DATASET[1:], "task.n_query=2", "train.n_query=2")
    train, val = (set(loaded.data.class_ids(split)) for split in ("train", "val"))
    assert val < train
    assert main(["data", *DATASET, "task.n_query=2", "train.n_query=2"]) == 0
    assert "train         1200" in capsys.readouterr().out
    settings = Composer().settings(RUN, Purpose.PLAN)
    description = make(settings.dataset, Dataset)
    assert description.val_in_train
    folder = settings.paths.data
    assert splits(SimpleNamespace(loaded=loaded.data, description=description, folder=folder)).verdict == "ok"
    description.val_in_train = False
    wrong = splits(SimpleNamespace(loaded=loaded.data, description=description, folder=folder))
    assert "of val is in train, too" in wrong.sentence


@pytest.mark.parametrize("more", [["--method", "random", "--runs", "3"], ["--method", "grid", "--stop-after", "10"]])
def test_no_sweep_of_wandb_chooses_by_it(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for word in RUN if word != "tracker=files"]
    grid = ["optimizer.lr=0.1,0.2", "--method", "grid", "--output", "-"]
    assert main(["wandb-sweep", *words, *grid]) == 0, capsys.readouterr().err
    assert main(["wandb-sweep", *words, "optimizer.lr=0.1,0.2", *more, "--output", "-"]) == 2
    assert "dataset=omniglot trains on the validation classes, too" in capsys.readouterr().err
