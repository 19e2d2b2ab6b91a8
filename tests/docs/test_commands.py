"""Commands in the README and in docs/ are run, as written but for their length: some of a page, every night all.

A run is cut to a few steps on a few episodes of few classes by overrides put behind its own, which come last and win.
Where real data are not there, a command that needs them is composed and checked, which is less. ``outputs/RUN``
stands for a run made before. ``make`` and ``pip`` lines are compared with the Makefile and the files that they name;
CI and tests/test_packaging.py install for real.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from forking import run_program
from same_machine import is_same_machine
from sampling import sample
from torch.distributed.run import get_args_parser

from metaexp.cli.main import main
from metaexp.config.classes import targets
from metaexp.config.classes.targets import trust
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.core.errors import ConfigError, ExitCode
from metaexp.engines.learn2learn import import_learn2learn
from metaexp.results.record import read_record

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHORT = [
    "train.steps=2",
    "train.meta_batch_size=1",
    "train.eval_episodes=1",
    "eval.episodes=2",
    "tracker=files",
]
STAND_FOR_A_RUN = re.compile(r"outputs/(RUN|OTHER|SWEEP|sweeps)$")
PATH_LINE = re.compile(r"(?:# @package _global_\n)?# (\S+\.(?:py|yaml))\n")
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
    (block.page, line)
    for block in blocks()
    if block.language in ("bash", "sh", "shell")
    for whole in block.text.replace("\\\n", " ").splitlines()
    if whole.strip() and not whole.startswith("#")
    for line in whole.split(" && ")
]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run and the files that pages show, whose blocks name the path."""
    folder = tmp_path_factory.mktemp("workplace")
    for block in blocks():
        if block.language in ("python", "yaml"):
            named = PATH_LINE.match(block.text)
            assert named, f"{block.page}: the first line of a file is its path, or the second after @package"
            path = folder / named[1]
            assert not path.exists(), f"{block.page}: {path.name} stands on two pages"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)  # the line with the path, too, as whoever pastes the block has it
    assert main(["train", *SHORT, *SMALL_GLYPHS, f"hydra.run.dir={folder / 'finished'}"]) == 0
    return folder


@pytest.fixture
def inside(workplace: Path, remembers: None, forked_jobs: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The process runs in the workplace, and forgets afterwards which packages it trusted.

    Jobs are forked from this process, which has imported torch already. Runs draw no figures, which takes longer than
    these runs; tests/run/test_figures.py has them drawn.
    """
    monkeypatch.setattr("metaexp.run.outputs.draw", lambda *_: {})
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(targets, "_trusted", set())
    monkeypatch.setattr(sys, "path", list(sys.path))
    return workplace


def test_there_are_commands_to_run() -> None:
    commands = [line for _, line in COMMANDS]
    assert any(command.startswith("metaexp train experiment=") for command in commands)
    assert any(command.startswith("make ") for command in commands)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(line, id=f"{page}: {line}")
        for page, line in sample(COMMANDS, 30, lambda case: [case[0], " ".join(case[1].split()[:2])])
    ],
)
def test_a_command_of_the_documentation_works(command: str, inside: Path) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)
    elif words[0] == ".":
        assert words[1:] == [".venv/bin/activate"]  # which make has made
        assert "ENV     := $(or $(VIRTUAL_ENV),$(CONDA),.venv)" in (ROOT / "Makefile").read_text()
    elif words[0] == "pip":
        assert words[1] == "install"
        assert all((ROOT / word.partition("[")[0]).exists() for word in words[2:] if not word.startswith("-"))
    elif words[0] == "metaexp":
        assert main(shortened(with_runs(words[1:], inside))) in allowed(words)
    elif words[0] == "python":
        assert words[1] == "benchmarks/learners.py"
        ended = run_program(ROOT / words[1], [*words[2:], "--rounds", "1"], Path())
        assert ended.code == 0, ended.output
    elif words[0] == "torchrun":
        given = get_args_parser().parse_args(words[1:])
        assert (given.module, given.training_script) in ((True, "metaexp"), (False, "scripts/train.py"))
        ours = given.training_script_args if given.module else ["train", *given.training_script_args]
        assert main(shortened(with_runs(ours, inside))) == 0  # in one process
    else:
        pytest.fail(f"no test knows how to run {words[0]}")


def allowed(words: list[str]) -> tuple[ExitCode, ...]:
    """How a command may end: a run that was published elsewhere may give other last digits here."""
    if words[1] == "reproduce" and words[2].startswith("docs/") and not is_same_machine(read_record(ROOT / words[2])):
        return ExitCode.OK, ExitCode.DIFFERENT
    return (ExitCode.OK,)


def with_runs(words: list[str], inside: Path) -> list[str]:
    """``words`` with a finished run where one is meant."""
    return [STAND_FOR_A_RUN.sub(lambda _: str(inside / "finished"), word) for word in words]


def shortened(words: list[str]) -> list[str]:
    """The arguments of one command of ours, cut short."""
    if words[0] == "evaluate":
        return [*words, "eval.episodes=2"]
    if words[0] == "data" and not data_are_there(words):
        pytest.skip("needs the data themselves: set METAEXP_DATA")
    if "algorithm.engine=learn2learn" in words and not learn2learn_is_there():
        pytest.skip("needs learn2learn: make learn2learn")
    if words[0] in OTHER_WORDS:
        return OTHER_WORDS[words[0]](words)
    if words[0] != "train" or {"--help", "--cfg"} & set(words) or any(word.startswith("resume=") for word in words):
        return words
    if any(word.startswith("from=") for word in words):
        return [*words, "train.steps=3", "eval.episodes=2"]  # one more than the run has
    checked_only = [] if data_are_there(words) else ["--cfg", "job"]
    words = ["seed=0,1" if word == "seed=0,1,2" else word for word in words]
    return [*words, *checked_only, *SHORT, *(SMALL_GLYPHS if dataset_of(words) == "glyphs" else [])]


def removal(_: list[str]) -> list[str]:
    """A copy of the run is removed, not the run."""
    shutil.copytree("finished", "to-remove", dirs_exist_ok=True)
    return ["rm", "--yes", "to-remove"]


OTHER_WORDS: dict[str, Callable[[list[str]], list[str]]] = {
    "ls": lambda words: [*words, "finished"],
    "rm": removal,
    "watch": lambda words: [*words, "--once"],
    "check": lambda words: [*words, "model.channels=8"] if "model=conv4" in words else words,
    "search": lambda words: [*words, *SHORT, *SMALL_GLYPHS, "search.trials=1"],
    "report": lambda words: [*words, "--check", "--root", str(ROOT)],
    "trust": lambda words: words if len(words) > 1 else ["trust", str(project())],
    "reproduce": lambda words: reproduction(words),
}
"""Verb -> what is given in place of the words on a page."""


def project() -> Path:
    """Make a project of one's own in the current folder, with one package."""
    (Path("project") / "my_methods").mkdir(parents=True, exist_ok=True)
    Path("project/my_methods/__init__.py").touch()
    Path("project/metaexp.toml").write_text('trust = ["my_methods"]\n')
    return Path("project")


def learn2learn_is_there() -> bool:
    """Whether learn2learn is installed."""
    try:
        import_learn2learn()
    except ConfigError:
        return False
    return True


def dataset_of(words: list[str]) -> str:
    """The dataset that a command chooses."""
    overrides = [word for word in words if word.startswith(("dataset=", "experiment="))]
    folder = Path(words[words.index("--config-dir") + 1]) if "--config-dir" in words else None
    if "--trust" in words:
        trust(words[words.index("--trust") + 1])
    composer = Composer(folder)
    return composer.settings(overrides, Purpose.PLAN).choices["dataset"] if overrides else "glyphs"


def reproduction(words: list[str]) -> list[str]:
    """A run as it is, for that of these tests is short; a published copy at its first line of metrics; an experiment
    composed and checked."""
    if Path(words[1]).is_absolute():
        return words
    if words[1].startswith("docs/"):
        return ["reproduce", str(ROOT / words[1]), "--steps", "200"]
    return ["train", f"experiment={words[1]}", "--cfg", "job"]


def data_are_there(words: list[str]) -> bool:
    """Whether the dataset of a command can be had without a network."""
    name = dataset_of(words)
    if name in ("glyphs", "sinusoid", "curves", "torch"):  # the class of torch's is on the page
        return True
    return (Path(os.environ.get("METAEXP_DATA", "data")) / name).exists()


def test_the_demo_installs_what_the_commands_of_the_readme_need() -> None:
    rule = re.search(r"^\$\(READY\):.*\n(?:\t.*\n)+", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert rule is not None
    assert "metaexp search" in (ROOT / "README.md").read_text()
    assert "$(INSTALL) -e '.[search]'" in rule[0]
    assert ".[dev]" not in rule[0]


def test_the_tracker_of_its_page_writes_the_numbers_of_a_run(inside: Path) -> None:
    """Commands of pages are run without trackers."""
    own = ["--config-dir", "conf", "--trust", "my_code", "tracker=table"]
    assert main(["train", *SHORT[:-1], *SMALL_GLYPHS, "model=mlp", "hydra.run.dir=tracked", *own]) == 0
    lines = [line.split(",") for line in Path("tracked/numbers.csv").read_text().splitlines()]
    metrics = [json.loads(line) for line in Path("tracked/metrics.jsonl").read_text().splitlines()]
    (loss,) = [value for step, name, value in lines if name == "train/loss"]
    assert float(loss) == next(line["train/loss"] for line in metrics if "train/loss" in line)
    assert {"val/accuracy", "test/accuracy"} <= {name for _, name, _ in lines}
    assert "tracker table" not in Path("tracked/run.log").read_text(), "it failed"


def test_a_command_that_does_not_work_would_be_seen(inside: Path) -> None:
    assert main(shortened(["train", "algoritm=maml"])) == 2
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(["make", "-n", "dmeo"], cwd=ROOT, check=True, capture_output=True)


def test_a_bug_in_a_file_of_a_page_would_be_seen(inside: Path) -> None:
    """A typo in a key of the page's algorithm, and a planted error in its code."""
    command = ["train", "--config-dir", "my_conf", "--trust", "my_package", "algorithm=prototypes"]
    assert main([*command, "algorithm.scael=2.0"]) == 2
    (inside / "my_package" / "broken.py").write_text(
        (inside / "my_package" / "prototypes.py").read_text().replace("/ one_hot.sum(0).unsqueeze(1)", "* x")
    )
    assert main(["check", "my_package.broken:Prototypes", "scale=1.0", "distance=cosine"]) == 11


def test_the_algorithm_of_the_readme_is_about_twenty_lines() -> None:
    (code,) = [block.text for block in blocks() if block.page == "README.md" and block.language == "python"]
    assert len([line for line in code.splitlines() if line.strip()]) <= 22
