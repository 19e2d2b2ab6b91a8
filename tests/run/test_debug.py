"""debug=fast, overfit and profile: what they do, and that they leave other runs and their hashes as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

import metaexp as mx
from metaexp.cli.main import main
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.core.errors import ConfigError
from metaexp.sweep.options import SweepOptions

SMALL = [
    "algorithm=proto_net", "model=mlp", "model.hidden=[16]", "dataset.train_classes=70", "dataset.val_classes=20",
    "dataset.test_classes=20", "device=cpu", "device.threads=1",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaexp.run.outputs.draw", lambda *_: {})


def test_fast_makes_one_step_one_validation_and_a_short_test(tmp_path: Path) -> None:
    run = mx.train(*SMALL, "debug=fast", folder=tmp_path / "run")
    assert run.record.steps == 1
    assert [line["step"] for line in run.metrics if "val/accuracy" in line] == [1]
    assert run.record.test is not None
    assert run.record.test.n_episodes == 8
    assert run.settings.tags == ("debug",)
    assert dict(run.settings.tracker) == {}


@pytest.mark.parametrize("name", ["fast", "overfit", "profile", "mine"])
def test_the_tag_is_there_beside_those_of_the_command_and_of_an_experiment(tmp_path: Path, name: str) -> None:
    for group, text in (("debug", "train: {steps: 1}"), ("experiment", "tags: [paper]")):
        (tmp_path / group).mkdir()
        (tmp_path / group / "mine.yaml").write_text(f"# @package _global_\n{text}\n")
    composer = Composer(tmp_path)

    def tags(*overrides: str) -> tuple[str, ...]:
        return composer.settings(overrides, Purpose.PLAN).tags

    assert tags(f"debug={name}", "tags=[x]") == ("x", "debug")
    assert tags("tags=[debug,x]", f"debug={name}") == ("debug", "x")
    assert tags("experiment=mine", f"debug={name}") == ("paper", "debug")
    assert tags("experiment=mine", f"debug={name}", "tags=[x]") == ("x", "debug")
    assert tags("tags=[x]", "debug=null") == ("x",)
    settings = composer.settings([f"debug={name}", "tags=[x]"], Purpose.PLAN)
    assert settings.resolved["tags"] == ["x", "debug"]
    with pytest.raises(ConfigError, match="tags=3 must be a list"):
        tags("tags=3", f"debug={name}")


def test_overfit_learns_a_few_training_tasks_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [*SMALL, "debug=overfit", "train.steps=60", "optimizer.lr=0.01", f"hydra.run.dir={tmp_path / 'run'}"]
    assert main(["train", *given]) == 0
    accuracies = [line["train/accuracy"] for line in mx.load_run(tmp_path / "run").metrics if "train/accuracy" in line]
    assert len(accuracies) == 3
    assert accuracies[-1] > 0.98
    assert "; on the training tasks themselves 100.00 " in capsys.readouterr().err
    other = mx.train(*given[:-2], "optimizer.lr=1e-30", folder=tmp_path / "still")  # a learner that cannot learn
    still = [line["train/accuracy"] for line in other.metrics if "train/accuracy" in line]
    assert max(still) < 0.5


def test_the_fit_of_few_training_tasks_is_measured_where_a_supervised_algorithm_has_tasks(tmp_path: Path) -> None:
    common = ["debug=overfit", "algorithm=fine_tune", "train.steps=2", "train.eval_every=2", "eval.test=false"]
    common += ["train.eval_episodes=2", "tracker=files"]

    def measured(*more: str) -> bool:
        run = mx.train(*common, *more, folder=tmp_path / more[0])
        return any("train/mse" in line or "train/accuracy" in line for line in run.metrics)

    assert measured("dataset=sinusoid")
    assert not measured("dataset=glyphs", "model=mlp")  # here it trains on batches of all classes


def test_few_training_tasks_are_the_first_ones_again_and_again(tmp_path: Path) -> None:
    common = [*SMALL, "train.meta_batch_size=2", "train.log_every=1", "eval.episodes=2", "train.eval_episodes=2"]
    common += ["optimizer.lr=1e-30", "tracker=files"]  # no weight changes, so equal tasks have equal losses

    def losses(*more: str) -> list[float]:
        run = mx.train(*common, "train.steps=4", *more, folder=tmp_path / f"run{len(more)}")
        return [line["train/loss"] for line in run.metrics if "train/loss" in line]

    all_new, few = losses(), losses("train.n_tasks=4")
    assert few[:2] == all_new[:2]
    assert few[2:] == few[:2] != all_new[2:]


def test_profile_writes_a_table_and_changes_no_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [*SMALL, "debug=profile"]
    assert main(["train", *given, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    path = tmp_path / "run" / "profile.txt"
    assert f"profile: {path}" in capsys.readouterr().out
    assert "torch.profiler over 5 training steps" in path.read_text()
    assert "aten::" in path.read_text()
    plain = mx.train(*given, "train.profile=0", folder=tmp_path / "plain")
    assert not (tmp_path / "plain" / "profile.txt").exists()
    profiled = mx.load_run(tmp_path / "run")
    assert profiled.metrics == plain.metrics
    assert profiled.record.config_hash == plain.record.config_hash
    assert main(["rm", "--yes", str(tmp_path / "run")]) == 0  # the table is metaexp's own


def test_keys_of_debugging_are_in_no_other_configuration_and_decide_numbers_where_they_do() -> None:
    composer = Composer()
    plain = composer.settings([])
    assert {"n_tasks", "profile"} & set(plain.resolved["train"]) == set()
    assert composer.settings(["train.n_tasks=null", "train.profile=3"]).config_hash == plain.config_hash
    assert composer.settings(["train.n_tasks=4"]).config_hash != plain.config_hash
    assert composer.settings(["debug=null"]).config_hash == plain.config_hash
    assert composer.settings(["+debug=fast", "train.steps=3"]).train.steps == 3  # the command line has the last word


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("debug=slow", "debug=slow is not there"),
        ("train.n_tasks=0", "train.n_tasks=0 must be an integer >= 1 or null"),
        ("train.profile=-1", "train.profile=-1 must be an integer >= 0"),
    ],
)
def test_a_wrong_value_is_named(line: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Composer().settings([line])


@pytest.mark.parametrize("line", ["debug=profile", "train.profile=5"])
def test_runs_that_train_together_are_not_profiled(line: str) -> None:
    with pytest.raises(ConfigError, match=f"{line} profiles a run that is trained alone"):
        SweepOptions.parse(["train.seeds=2", line], Composer())
