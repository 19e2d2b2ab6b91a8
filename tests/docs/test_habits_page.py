"""Commands on the page of habits are run, as written but for their length: one of every verb, and every night all."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import forking
import pytest
from sampling import sample
from torch.distributed.run import get_args_parser

from metaexp.cli.main import main
from metaexp.config.classes import targets

PAGE = Path(__file__).resolve().parents[2] / "docs" / "habits.md"
SHORT = [
    "train.steps=1", "train.meta_batch_size=1", "train.eval_episodes=1", "eval.episodes=2", "device.threads=1",
]  # fmt: skip
SMALL = ["dataset.train_classes=70", "dataset.val_classes=20", "dataset.test_classes=20"]
NARROW = ["model.channels=8"]
PLACES = ("outputs/RUN", "outputs/OTHER", "outputs/SWEEP")


def commands(text: str) -> list[str]:
    """The last cell of each row of the page's tables."""
    rows = re.findall(r"^\| .* \| `(.*)` \|$", text, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\|", text, re.MULTILINE)) - 2 * text.count("| there | here |")
    return rows


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs and a sweep of two jobs, which are copies of the runs."""
    folder = tmp_path_factory.mktemp("habits")
    common = ["tracker=files", *SHORT, *SMALL, *NARROW, f"paths.outputs={folder / 'outputs'}"]
    place = folder / "outputs" / "SWEEP"
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        patch.setattr(targets, "_trusted", set())  # packages that other tests of this process trusted
        assert main(["train", "-m", "seed=0,1", *common, f"hydra.sweep.dir={place}"]) == 0
    for name, job in zip(("RUN", "OTHER"), sorted(place.glob("0*")), strict=True):
        shutil.copytree(job, folder / "outputs" / name)
    return folder


def quick(patch: pytest.MonkeyPatch) -> None:
    """No figures, which take longer than these runs; jobs are forked from this process, which has imported torch."""
    patch.setattr("metaexp.run.outputs.draw", lambda *_: {})
    patch.setattr("metaexp.sweep.processes.warm_start.start", forking.start)
    patch.setattr("metaexp.sweep.processes.warm_start.can_fork", lambda: False)


@pytest.fixture
def inside(workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The process is in a copy of the workplace, and forgets afterwards which packages it trusted."""
    shutil.copytree(workplace / "outputs", tmp_path / "outputs")
    quick(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(targets, "_trusted", set())
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def shortened(command: str) -> list[str]:
    """The arguments of a command after ``metaexp``, cut short by overrides that come last."""
    program, *words = shlex.split(command)
    if program == "torchrun":
        given = get_args_parser().parse_args(words)
        assert (given.training_script, given.module) == ("metaexp", True)
        words = given.training_script_args  # in one process
    else:
        assert program == "metaexp"
    verb = words[0]
    if {"--cfg", "--help", "--info"} & set(words) or any(word.startswith("resume=") for word in words):
        return words
    if verb == "reproduce":  # hours of training: its experiment is composed and checked
        return ["train", f"experiment={words[1]}", "--cfg", "job"]
    if verb == "evaluate":
        return [*words, "eval.episodes=2"]
    if any(word.startswith("hydra/launcher=") for word in words):  # its processes import torch again; see tests/sweep
        words = ["plan", *(word for word in words[1:] if word != "-m")]
    if verb not in ("train", "search", "plan"):
        return words
    dataset = next((word for word in words if word.startswith(("experiment=", "+experiment=", "dataset="))), "")
    small = SMALL if dataset in ("", "dataset=glyphs") else []
    if small and not any(word.startswith("model=") for word in words):
        small = [*SMALL, *NARROW]
    if "omniglot" in dataset and not (Path(os.environ.get("METAEXP_DATA", "data")) / "omniglot").exists():
        small = ["dataset.stand_in=true"]
    tracker = [] if any(word.startswith("tracker") for word in words) else ["tracker=files"]
    trials = ["search.trials=2"] if verb == "search" else []
    return [*words, *tracker, *SHORT, *small, *trials]


def verb(command: str) -> list[str]:
    return command.split()[1:2]


@pytest.mark.parametrize("command", sample(commands(PAGE.read_text(encoding="utf-8")), 25, verb))
def test_a_command_of_the_page_of_habits_works(command: str, inside: Path) -> None:
    assert main(shortened(command)) == 0


def test_the_page_has_forty_habits_of_four_tools_and_each_row_a_command() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(set(commands(text))) >= 40
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "lightning-hydra-template", "Weights & Biases", "BenchMARL", "PyKEEN",
    ]  # fmt: skip
    with pytest.raises(AssertionError):
        commands(text + "| a habit | no command |\n")


def test_a_command_that_does_not_work_would_be_seen(inside: Path) -> None:
    assert main(shortened("metaexp train train.stepps=3")) == 2
    assert main(shortened("metaexp compare outputs/NOTHING")) == 4
