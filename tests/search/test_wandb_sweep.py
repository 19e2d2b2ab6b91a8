"""``metaexp wandb-sweep``: the file it writes, and what it refuses. The real client is in tests/tracking."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from metaexp.cli.main import main
from metaexp.config.classes import targets
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose


def written(folder: Path, *arguments: str) -> dict[str, Any]:
    path = folder / "sweep.yaml"
    assert main(["wandb-sweep", *arguments, "--output", str(path)]) == 0
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict)
    return content


def test_the_file_has_the_values_the_metric_and_a_command_that_tests_nothing(tmp_path: Path) -> None:
    varied = ["algorithm.inner_lr=tag(log, interval(0.01, 1))", "train.meta_batch_size=4,8", "train.k_shot=range(1, 4)"]
    more = ["optimizer.lr=interval(0, 1)", "train.steps=int(interval(5, 9))", "model.hidden=[8],[16,8]"]
    asked = ["--method", "bayes", "--runs", "7", "--stop-after", "3"]
    content = written(tmp_path, "model=mlp", *varied, "seed=4", *more, *asked, "tracker.wandb.project=mine")
    assert content == {
        "name": "maml-glyphs-5way_1shot-seed4",
        "project": "mine",
        "method": "bayes",
        "metric": {"name": "val/accuracy", "goal": "maximize"},
        "run_cap": 7,
        "early_terminate": {"type": "hyperband", "min_iter": 3},
        "command": [
            "${env}", "metaexp", "train", "model=mlp", "seed=4", "tracker.wandb.project=mine", "eval.test=false",
            "${args_no_hyphens}",
        ],
        "parameters": {
            "algorithm.inner_lr": {"distribution": "log_uniform_values", "min": 0.01, "max": 1.0},
            "train.meta_batch_size": {"values": [4, 8]},
            "train.k_shot": {"values": [1, 2, 3]},
            "optimizer.lr": {"distribution": "uniform", "min": 0.0, "max": 1.0},
            "train.steps": {"distribution": "int_uniform", "min": 5, "max": 9},
            "model.hidden": {"values": ["[8]", "[16,8]"]},
        },
    }  # fmt: skip
    head = (tmp_path / "sweep.yaml").read_text().splitlines()[:2]
    assert head[0].startswith("# Written by: metaexp wandb-sweep model=mlp 'algorithm.inner_lr=tag(log,")
    assert head[1] == f"# Start it:   wandb sweep {tmp_path / 'sweep.yaml'}"


def test_what_an_agent_will_call_composes_to_the_point(tmp_path: Path) -> None:
    content = written(
        tmp_path, "model=mlp", "model.hidden=[8],[16,8]", "device.task_chunk=null,4", "seed=1,2", "--method=grid"
    )
    point = {key: values["values"][0] for key, values in content["parameters"].items()}
    arguments = [f"{key}={value}" for key, value in point.items()]  # as the agent's ${args_no_hyphens}
    settings = Composer().settings([*content["command"][3:-1], *arguments], Purpose.PLAN)
    assert settings.model.arguments["hidden"] == [8]
    assert settings.device.task_chunk is None
    assert settings.seed == 1
    assert settings.eval.test is False


def test_regression_is_minimized(tmp_path: Path) -> None:
    content = written(tmp_path, "dataset=sinusoid", "algorithm.inner_lr=0.01,0.02", "--metric", "val/mse")
    assert content["metric"] == {"name": "val/mse", "goal": "minimize"}


def test_options_that_agents_need_are_passed_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "_trusted", set())
    (tmp_path / "mine").mkdir()
    options = ["--config-dir", str(tmp_path / "mine"), "--trust", "metaexp"]
    assert main(["wandb-sweep", "algorithm.inner_lr=0.1,0.2", "--output", "-", *options]) == 0
    content = yaml.safe_load(capsys.readouterr().out)
    assert content["command"][3:7] == options


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "test/accuracy"], "--metric test/accuracy: test results must not be used to choose"),
        (["--metric", "train/loss"], "--metric train/loss cannot say which point is better; use val/accuracy"),
        (
            ["--method", "grid"],
            "algorithm.inner_lr: --method grid runs every combination, and an interval has too many",
        ),
        (["tracker=files"], "tracker does not log to W&B"),
        (["seed=0,1"], "seed varies: a search over seeds would choose the luckiest one"),
        (["task.k_shot=1,2"], "task.k_shot is 1 at one point and 2 at another, so their validation tasks differ"),
        (["dataset=glyphs,sinusoid"], "some points are judged by val/accuracy and others by val/mse"),
        (["eval.test=true"], "eval.test=true: every run would be tested"),
        (["eval.test=True"], "eval.test=True: every run would be tested"),
        (["++eval.test=TRUE"], "++eval.test=TRUE: every run would be tested"),
        (["eval.test=true,false"], "eval.test is true or false, and that changes nothing that validation measures"),
        (["eval={test: true},{test: false}", "--method", "grid"], "eval varies: every run would be tested"),
        (["++eval={test: true},{test: true,seed: 5}", "--method", "grid"], "++eval varies: every run would be tested"),
        (["hydra.run.dir=x"], "hydra.run.dir=x: agents start single runs"),
        (["train.steps=tag(log, int(interval(1, 9)))"], "train.steps: W&B has no integers on a logarithmic scale"),
        (["--runs", "0"], "--runs 0 must be a whole number from 1 on"),
        (["--stop-after", "two"], "--stop-after two must be a whole number from 1 on"),
        (
            ["train.k_shot=interval(1, 2)"],
            "k_shot must be an integer >= 1, and its values are real numbers. Write train.k_shot=int(interval(1, 2)).",
        ),
        (
            ["train.k_shot=range(0.5, 4, 0.5)"],
            "k_shot must be an integer >= 1, and its values are real numbers. Write train.k_shot=range(1, 4).",
        ),
        (
            ["train.k_shot=int(interval(0, 8))"],
            "k_shot must be an integer >= 1, and some of its values are not. Write train.k_shot=int(interval(1, 8)).",
        ),
        (["train.k_shot=interval(-3, 8)"], "its values are real numbers. Write train.k_shot=int(interval(1, 8))."),
        (["train.steps=int(interval(-5, 8))"], "some of its values are not. Write train.steps=int(interval(0, 8))."),
        (
            ["train.patience=range(-4, 9, 3)"],
            ">= 1 or null, and some of its values are not. Write train.patience=range(2, 9, 3).",
        ),
        (["train.k_shot=range(4, -1, -1)"], "some of its values are not. Write train.k_shot=range(1, 5)."),
        (["train.k_shot=range(-3, 2)"], "Write some, such as train.k_shot=1,2,4."),
        (["train.k_shot=interval(0.1, 0.9)"], "Write some, such as train.k_shot=1,2,4."),
        (["train.steps=tag(log, interval(2, 9.5))"], "Write train.steps=tag(log, int(interval(2, 9)))."),
        (["train.steps=range(2.0, 9.0, 2.5)"], "Write train.steps=range(2, 8)."),
        (["task.k_shot=1.0,2.0"], "task.k_shot=1.0 must be an integer >= 1. Write 1."),
        (["--output", "no/such/sweep.yaml"], "there is no folder no/such"),
    ],
)
def test_what_would_mislead_or_fail_is_refused(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["wandb-sweep", "algorithm.inner_lr=interval(0.01, 1)", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_section_of_the_test_may_vary_or_be_given_where_nothing_is_tested(tmp_path: Path) -> None:
    grid = ["--method", "grid"]
    content = written(tmp_path, "eval={episodes: 5},{episodes: 6}", *grid)
    assert content["command"][3:-1] == ["eval.test=false"]
    assert written(tmp_path, "eval={test: true}", "seed=0,1", *grid, "--force")["command"][3:-1] == [
        "eval={test: true}", "eval.test=false",
    ]  # fmt: skip


def test_a_grid_may_run_several_seeds_and_datasets_side_by_side(tmp_path: Path) -> None:
    content = written(tmp_path, "seed=0,1", "task.k_shot=1,2", "--method", "grid")
    assert content["parameters"] == {"seed": {"values": [0, 1]}, "task.k_shot": {"values": [1, 2]}}


def test_a_file_is_replaced_only_by_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, "seed=0,1", "--method", "grid")
    again = ["wandb-sweep", "seed=0,1,2", "--method", "grid", "--output", str(tmp_path / "sweep.yaml")]
    assert main(again) == 2
    assert "is there already; name another file, or add --force" in capsys.readouterr().err
    assert main([*again, "--force"]) == 0
    assert yaml.safe_load((tmp_path / "sweep.yaml").read_text())["parameters"]["seed"]["values"] == [0, 1, 2]


def test_neither_torch_nor_wandb_nor_optuna_is_imported() -> None:
    code = (
        "import sys; from metaexp.cli.main import main;"
        "main(['wandb-sweep', 'seed=0,1', '--method', 'grid', '--output', '-']);"
        "sys.exit(str([m for m in ('torch', 'wandb', 'optuna') if m in sys.modules]))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stderr.strip() == "[]"
    assert "parameters:" in ended.stdout
