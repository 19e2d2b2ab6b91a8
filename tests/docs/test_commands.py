"""Every command in the README and in docs/ is run, as written but for its length.

A run is cut to a few steps on a few episodes of few classes by overrides put behind its own, which come last and win.
Where real data are not there, a command that needs them is composed and checked, which is less. ``outputs/RUN``
stands for a run made before. ``make`` and ``pip`` lines are compared with the Makefile and the files that they name;
CI and tests/test_packaging.py install for real.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from torch.distributed.run import get_args_parser

from metaexp.cli import main
from metaexp.runner import targets
from metaexp.runner.compose import Composer

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHORT = [
    "train.steps=2",
    "train.meta_batch_size=2",
    "train.eval_episodes=4",
    "eval.episodes=4",
    "tracker=files",
]
SMALL_GLYPHS = ["dataset.train_classes=70", "dataset.val_classes=20", "dataset.test_classes=20"]


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    language: str
    text: str


def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
            found.append(Block(page.name, language, text))
    return found


COMMANDS = [
    pytest.param(line, id=f"{block.page}: {line}")
    for block in blocks()
    if block.language in ("bash", "sh", "shell")
    for line in block.text.replace("\\\n", " ").splitlines()
    if line.strip() and not line.startswith("#")
]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the README shows; the first line of such a block is the file's path."""
    folder = tmp_path_factory.mktemp("workplace")
    for block in blocks():
        if block.page == "README.md" and block.language in ("python", "yaml"):
            path = folder / block.text.partition("\n")[0].removeprefix("# ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
    return folder


@pytest.fixture
def inside(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The process runs in the workplace, and forgets afterwards which packages it trusted."""
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(targets, "_trusted", set())
    monkeypatch.setattr(sys, "path", list(sys.path))
    return workplace


@pytest.fixture
def run(inside: Path) -> Path:
    """A finished run."""
    folder = inside / "finished"
    if not folder.exists():
        assert main(["train", *SHORT, *SMALL_GLYPHS, f"hydra.run.dir={folder}"]) == 0
    return folder


def test_there_are_commands_to_run() -> None:
    commands = [str(parameter.values[0]) for parameter in COMMANDS]
    assert any(command.startswith("metaexp train experiment=") for command in commands)
    assert any(command.startswith("make ") for command in commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_documentation_works(command: str, inside: Path, request: pytest.FixtureRequest) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)
    elif words[0] == "pip":
        assert words[1] == "install"
        assert all((ROOT / word.partition("[")[0]).exists() for word in words[2:] if not word.startswith("-"))
    elif words[0] == "metaexp":
        run = str(request.getfixturevalue("run")) if "outputs/RUN" in command else ""
        assert main(shortened([word.replace("outputs/RUN", run) for word in words[1:]])) == 0
    elif words[0] == "torchrun":
        given = get_args_parser().parse_args(words[1:])
        assert (given.module, given.training_script) in ((True, "metaexp"), (False, "scripts/train.py"))
        ours = given.training_script_args if given.module else ["train", *given.training_script_args]
        run = str(request.getfixturevalue("run")) if "outputs/RUN" in command else ""
        assert main(shortened([word.replace("outputs/RUN", run) for word in ours])) == 0  # in one process
    else:
        pytest.fail(f"no test knows how to run {words[0]}")


def shortened(words: list[str]) -> list[str]:
    """The arguments of one command of ours, cut short."""
    if words[0] == "evaluate":
        return [*words, "eval.episodes=4"]
    if words[0] == "data" and not data_are_there(words):
        pytest.skip("needs the data themselves: set METAEXP_DATA")
    if words[0] == "search":
        return [*words, *SHORT, *SMALL_GLYPHS, "search.trials=1"]
    if words[0] == "report":
        return [*words, "--check", "--root", str(ROOT)]
    if words[0] != "train" or {"--help", "--cfg"} & set(words) or any(word.startswith("resume=") for word in words):
        return words
    uses_glyphs = not any(word.startswith(("dataset=", "experiment=")) for word in words) or "dataset=glyphs" in words
    checked_only = [] if data_are_there(words) else ["--cfg", "job"]
    return [*words, *checked_only, *SHORT, *(SMALL_GLYPHS if uses_glyphs else [])]


def data_are_there(words: list[str]) -> bool:
    """Whether the dataset of a command can be had without a network."""
    overrides = [word for word in words if word.startswith(("dataset=", "experiment="))]
    name = Composer().settings(overrides, on_this_machine=False).choices["dataset"] if overrides else "glyphs"
    if name in ("glyphs", "sinusoid", "curves"):
        return True
    return (Path(os.environ.get("METAEXP_DATA", "data")) / name).exists()


def test_a_command_that_does_not_work_would_be_seen(inside: Path) -> None:
    assert main(shortened(["train", "algoritm=maml"])) == 2
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(["make", "-n", "dmeo"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_algorithm_of_the_readme_is_about_twenty_lines() -> None:
    (code,) = [block.text for block in blocks() if block.page == "README.md" and block.language == "python"]
    assert len([line for line in code.splitlines() if line.strip()]) <= 22
