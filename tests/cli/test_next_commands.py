"""What check, predict, reproduce and report print last: commands that work as they stand."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import metaexp as mx
from metaexp.cli.main import main
from metaexp.config.classes.attributes import attribute_of
from metaexp.config.classes.make import import_class
from metaexp.config.compose import Composer
from metaexp.config.project import trust_options
from metaexp.config.schema import ClassSpec
from metaexp.data.base import Dataset
from metaexp.results.beginning import OwnCodeRecord
from metaexp.results.display.next_steps import (
    after_check,
    after_prediction,
    after_report,
    after_rerun,
    after_run,
    after_seeds,
    after_sweep,
)
from metaexp.results.display.wording import format_command, format_test_command
from metaexp.results.record import read_record, write_record
from metaexp.run.own_options import resume_command, trust_of_run

SMALL = [
    "algorithm=proto_net", "model=mlp", "model.hidden=[16]", "dataset.train_classes=20", "dataset.val_classes=10",
    "dataset.test_classes=10", "device=cpu", "device.threads=1", "tracker=files", "train.steps=2", "eval.episodes=20",
    "train.log_every=1",
    "train.eval_episodes=2",
]  # fmt: skip


def next_commands(out: str) -> list[list[str]]:
    """The words of each command after ``next:``, without ``metaexp``."""
    _, found, lines = out.rpartition("next:\n")
    commands = (
        [shlex.split(line, comments=True) for line in lines.splitlines() if line.startswith("  ")] if found else []
    )
    assert all(words[0] == "metaexp" for words in commands)
    return [words[1:] for words in commands]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a run")  # the blank is to be quoted
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metaexp.run.outputs.draw", lambda *_: {})
        return mx.train(*SMALL, folder=folder / "run").folder


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("metaexp.run.outputs.draw", lambda *_: {})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_network_without_fault_is_trained_next(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "model=mlp", "hidden=[8]"]) == 0
    (words,) = next_commands(capsys.readouterr().out)
    assert words == ["train", "model=mlp", "model.hidden=[8]", "train.steps=100"]
    assert main([*words, "--cfg", "job"]) == 0


def test_a_dataset_without_fault_is_looked_at_and_trained_on(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["train_classes=20", "val_classes=20", "test_classes=20"]
    assert main(["check", "dataset=glyphs", *small]) == 0
    look, train = next_commands(capsys.readouterr().out)
    assert main(look) == 0
    assert (inside / "examples.png").exists()
    assert main([*train, "--cfg", "job"]) == 0


def test_data_that_are_there_are_looked_at_and_trained_on(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = [f"dataset.{split}_classes=20" for split in ("train", "val", "test")]
    assert main(["data", "dataset=glyphs", *few]) == 0
    look, train = next_commands(capsys.readouterr().out)
    assert main(look) == 0
    assert (inside / "examples.png").exists()
    assert next_commands(capsys.readouterr().out) == [train]
    assert train == ["train", "dataset=glyphs", *few]


def test_a_key_of_the_command_that_a_proposed_one_changes_is_in_it_once(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(inside / "mine.npz", x=np.arange(180, dtype=np.float32).reshape(60, 3), y=np.arange(60) // 6)
    chosen = ["dataset=arrays", "dataset.file=mine.npz", "paths.data=.", "model=mlp", "task.n_way=2", "task.k_shot=2"]
    assert main(["data", *chosen, "++task.n_query=40", "seed=3"]) == 0
    look, train = next_commands(capsys.readouterr().out)
    assert "++task.n_query=40" in look
    assert train == ["train", *chosen, "seed=3", "task.n_query=4"]
    assert main([*train, "--cfg", "job"]) == 0
    steps = after_check("model", ["model=mlp", "train.steps=5", "train.eval_every=5"])
    assert [step.command for step in steps] == ["metaexp train model=mlp train.eval_every=5 train.steps=100"]


def test_a_key_that_a_command_removes_is_set_and_the_folder_of_an_option_stays(inside: Path) -> None:
    for words in (["~train.steps"], ["~train.steps=150"], ["+train.steps=3"], []):
        (train,) = after_check("model", ["--config-dir", "train.steps=5", "--trust", "mine", "model=mlp", *words])
        assert train.command == ("metaexp train --config-dir train.steps=5 --trust mine model=mlp train.steps=100")
    (other,) = after_check("model", ["~train.eval_every", "model=mlp"])
    assert other.command == "metaexp train '~train.eval_every' model=mlp train.steps=100"


def test_a_challenge_is_trained_on_with_the_task_of_its_fixed_episodes(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_up = ["dataset=omniglot_challenge", "dataset.stand_in=true", "dataset.stand_in_images=8"]
    assert main(["data", *made_up, "--figure", "examples.png"]) == 0
    out = capsys.readouterr().out
    assert "test episodes: 20, fixed, 20-way 1-shot with 1 query per class" in out
    (train,) = next_commands(out)
    assert train == ["train", *made_up, "task.n_way=20", "task.n_query=1", "eval.episodes=20"]
    assert main([*train, "--cfg", "job"]) == 0
    assert main([*train[:-1], "--cfg", "job"]) == 2


@pytest.mark.parametrize(("dataset", "is_fixed"), [("omniglot_challenge", True), ("omniglot", False)])
def test_no_more_episodes_are_offered_than_a_dataset_has(
    inside: Path, capsys: pytest.CaptureFixture[str], dataset: str, is_fixed: bool
) -> None:
    made_up = [f"dataset={dataset}", "dataset.stand_in=true", "dataset.stand_in_images=8", "dataset.image_size=8"]
    task = ["task.n_way=20", "task.k_shot=1", "task.n_query=1"]
    short = ["algorithm=nearest_neighbour", "model=linear", "train.steps=0", "device=cpu", "tracker=files"]
    assert main(["train", *made_up, *task, *short, "eval.episodes=20", "hydra.run.dir=run"]) == 0
    verbs = [words[:1] for words in next_commands(capsys.readouterr().out)]
    assert verbs == [["reproduce"], ["show"]] if is_fixed else [["evaluate"], ["reproduce"], ["show"]]
    assert main(["show", "run"]) == 0
    assert [words[:1] for words in next_commands(capsys.readouterr().out)] == verbs[:-1]


def test_more_episodes_are_more_than_there_were() -> None:
    assert after_run(Path("f"), 600)[0].command == "metaexp evaluate f eval.episodes=5000"
    assert after_run(Path("f"), 10_000)[0].command == "metaexp evaluate f eval.episodes=20000"
    assert after_run(Path("f"), None)[0].command == "metaexp evaluate f"
    assert after_run(Path("f"), 20, is_fixed=True)[0].command == "metaexp reproduce f"


def test_commands_after_a_run_with_code_of_ones_own_trust_it(
    inside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaexp.config.classes.targets._trusted", set())
    monkeypatch.setattr("sys.path", list(sys.path))
    Path("trusted_nets.py").write_text("from metaexp.models.mlp import MLP\n\n\nclass Own(MLP):\n    pass\n")
    own = [*SMALL, "model._target_=trusted_nets.Own", "hydra.run.dir=run", "dataset=glyphs"]
    assert main(["train", "--trust", "trusted_nets", *own]) == 0
    commands = next_commands(capsys.readouterr().out)
    trusting = [words[0] for words in commands if words[1:3] == ["--trust", "trusted_nets"]]
    assert trusting == ["evaluate", "reproduce"]
    assert "--trust" not in next(words for words in commands if words[0] == "show")
    monkeypatch.setattr("metaexp.config.classes.targets._trusted", set())  # as in a new process
    options = ["--trust", "trusted_nets"]

    def shown() -> list[list[str]]:
        assert main(["show", "run"]) == 0
        return next_commands(capsys.readouterr().out)

    assert [words[:3] for words in shown()] == [["evaluate", *options], ["reproduce", *options]]
    assert main(["train", "resume=run"]) == 0  # it is finished, so none of its code is needed
    again = next_commands(capsys.readouterr().out)
    assert [words[:3] for words in again if words[0] in ("evaluate", "reproduce")] == [
        ["evaluate", *options],
        ["reproduce", *options],
    ]
    assert resume_command(Path("run")) == "metaexp train --trust trusted_nets resume=run"
    stopped = replace(read_record(Path("run")), status="interrupted", test=None, val=None)
    write_record(stopped, Path("run"))
    assert shown() == [["train", *options, "resume=run"]]
    monkeypatch.setenv("METAEXP_TRUST", "trusted_nets")
    assert shown() == [["train", "resume=run"]]
    assert trust_of_run(Path("run")) == trust_of_run(Path("nowhere")) == []
    assert trust_options(["others"]) == ["--trust", "others"]


def test_a_run_without_own_code_needs_no_trust(run: Path) -> None:
    assert trust_of_run(run) == []


def test_pages_and_copies_of_runs_with_own_code_trust_it(run: Path) -> None:
    plain = read_record(run)
    own = replace(plain, own_code=OwnCodeRecord("0" * 64, {"mine": None, "ours": None}))
    words = ["--trust", "mine", "--trust", "ours"]
    assert shlex.split(format_command(own))[2:6] == words
    assert shlex.split(format_test_command(own, "copy", ["task.k_shot=5"])) == [
        "metaexp", "evaluate", *words, "copy", "task.k_shot=5",
    ]  # fmt: skip
    assert "--trust" not in format_command(plain) + format_test_command(plain, "copy", [])
    first, second = after_report([Path("a"), Path("b")], {Path("b"): words})[:2]
    assert (first.command, shlex.split(second.command)) == ("metaexp evaluate a", ["metaexp", "evaluate", *words, "b"])
    (more, _) = after_seeds("x", Path("f"), 1, ["--config-dir", "own"])
    assert more.command == "metaexp reproduce --config-dir own x --seeds 3"
    (again,) = after_rerun(Path("a"), Path("b"), is_identical=True, is_whole=False, trust=words)
    assert shlex.split(again.command) == ["metaexp", "reproduce", *words, "a"]


def test_every_dataset_with_fixed_test_episodes_says_so() -> None:
    """By a word that is read from its source; the others draw as many as one likes."""
    found = {}
    for name in Composer().groups()["dataset"]:
        node = Composer().compose([f"dataset={name}"]).config.dataset
        cls = import_class(ClassSpec(node._target_, node._target_, {}, frozenset()), Dataset)
        assert cls.fixed_tests == (cls.fixed_bank is not Dataset.fixed_bank), name
        found[name] = attribute_of({"_target_": node._target_}, "fixed_tests")
    assert {name for name, is_fixed in found.items() if is_fixed} == {"fixed_episodes", "omniglot_challenge"}
    assert attribute_of({"_target_": "nobody.has.this"}, "fixed_tests") is None
    assert attribute_of(None, "fixed_tests") is None


def test_episodes_alone_are_not_trained_on(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["episode,role,class,image"]
    for name in ("a", "b"):
        for number in range(3):
            Image.new("L", (8, 8), 40 * number + ord(name)).save(inside / f"{name}{number}.png")
            lines.append(f"1,{'query' if number else 'support'},{name},{name}{number}.png")
    (inside / "episodes.csv").write_text("\n".join([*lines, ""]))
    assert main(["data", "dataset=fixed_episodes", "dataset.file=episodes.csv", "paths.data=."]) == 0
    out = capsys.readouterr().out
    assert "evaluate RUN, with this dataset and task.n_way=2 task.n_query=2 eval.episodes=1\n" in out
    assert [words[0] for words in next_commands(out)] == ["data"]


def test_a_class_that_no_configuration_names_has_no_next_command(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["use_batch_norm=true", "norm_scale=true", "norm_eps=1e-5", "weight_init=default", "init_std=0.01"]
    assert main(["check", "metaexp.models.mlp:MLP", "hidden=[8]", *more]) == 0
    assert next_commands(capsys.readouterr().out) == []


def test_predictions_are_kept_or_made_with_sets_next(
    run: Path, inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    x = np.random.default_rng(0).random((10, 1, 28, 28)).astype(np.float32)
    np.savez(inside / "known one.npz", x=x, y=np.arange(10) % 5)
    np.savez(inside / "new.npz", x=x)
    assert main(["predict", str(run), "--support", "known one.npz", "--query", "new.npz"]) == 0
    kept, sets = next_commands(capsys.readouterr().out)
    assert main(kept) == main(sets) == 0
    assert (inside / "names.csv").exists()
    (still,) = next_commands(capsys.readouterr().out)  # after the sets, the file is left
    assert still == [*sets, "--output", "names.csv"]
    assert after_prediction([], is_kept=True, has_sets=True) == []


def test_a_repeated_run_is_explained_or_shown(run: Path, inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", str(run), "--steps", "1"]) == 0
    (words,) = next_commands(capsys.readouterr().out)
    assert words == ["reproduce", str(run)]
    assert main(words) == 0
    (words,) = next_commands(capsys.readouterr().out)
    assert words[0] == "show"
    assert main(words) == 0
    differ = after_rerun(Path("a"), Path("b"), is_identical=False, is_whole=True)
    assert [found.command for found in differ] == ["metaexp why a b"]


def test_a_published_copy_is_tested_next(run: Path, inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inside / "docs" / "results").mkdir(parents=True)
    (inside / "README.md").write_text("<!-- results:begin -->\n<!-- results:end -->\n")
    assert main(["report", str(run), "--name", "mine"]) == 0
    again, check = next_commands(capsys.readouterr().out)
    assert main(again) == main(check) == 0
    capsys.readouterr()
    assert main(["report"]) == 0
    assert next_commands(capsys.readouterr().out) == []
    assert after_report([]) == []


def test_few_seeds_are_said_to_be_few() -> None:
    assert [found.command for found in after_seeds("x", Path("f"), 1)] == [
        "metaexp reproduce x --seeds 3", "metaexp compare f",
    ]  # fmt: skip
    assert [found.command for found in after_seeds("x", Path("f"), 3)] == ["metaexp compare f"]
    (more, _) = after_seeds("x", Path("f"), 2, changes=["train.steps=5", "--short"])
    assert (more.command, more.why) == (
        "metaexp reproduce x train.steps=5 --short --seeds 3", "a few seeds say little about others",
    )  # fmt: skip


def test_what_wandb_wrote_offline_is_uploaded_next(tmp_path: Path) -> None:
    run = tmp_path / "a run"
    assert not [step for step in after_run(run, 20) if step.command.startswith("wandb")]
    for name in ("offline-run-20260101_000000-a", "offline-run-20260102_000000-a", "debug"):
        (run / "wandb" / name).mkdir(parents=True)
    found = [step.command for step in after_run(run, 20) if step.command.startswith("wandb")]
    assert [shlex.split(command) for command in found] == [
        ["wandb", "sync", str(run / "wandb" / "offline-run-20260102_000000-a")]
    ]


def test_what_wandb_wrote_offline_of_all_jobs_is_uploaded_next(tmp_path: Path) -> None:
    sweep = tmp_path / "a sweep"
    assert not [step for step in after_sweep(sweep, ["completed"]) if step.command.startswith("wandb")]
    folders = [sweep / job / "wandb" / "offline-run-1-a" for job in ("000-a", "001-b")]
    for path in (*folders, sweep / "000-a" / "wandb" / "earlier" / "offline-run-0-a"):
        path.mkdir(parents=True)
    (command,) = (step.command for step in after_sweep(sweep, ["completed"]) if step.command.startswith("wandb"))
    shown = subprocess.run(
        ["sh", "-c", command.replace("wandb sync", "printf '%s\\n'", 1)], capture_output=True, text=True
    )
    assert shown.stdout.splitlines() == [str(path) for path in folders]
