"""The commands of examples/ work in a copy of their folder, cut to a few steps."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from forking import Ended, run_main

ROOT = Path(__file__).resolve().parents[1]
SHORT = [
    "train.steps=2", "train.meta_batch_size=2", "train.eval_episodes=4", "eval.episodes=4", "tracker=files",
    "device=cpu",
]  # fmt: skip


def commands() -> list[tuple[str, str]]:
    found = []
    for page in sorted((ROOT / "examples").glob("*/README.md")):
        for block in re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
            found += [(page.parent.name, line) for line in block.splitlines()]
    return found


def run(folder: Path, command: str) -> Ended:
    """Run a command of a page in a process forked from this one, which has imported torch."""
    words = shlex.split(command)
    assert words[0] == "metaexp"
    short = SHORT if words[1] == "train" else []
    if words[1] == "train" and "dataset=lines" not in words:
        short = [*short, "dataset.train_classes=70", "dataset.val_classes=20", "dataset.test_classes=20"]
    return run_main([*words[1:], *short], folder)


def test_every_folder_has_commands() -> None:
    folders = {path.parent.name for path in (ROOT / "examples").glob("*/README.md")}
    assert {folder for folder, _ in commands()} == folders


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "command"), commands())
def test_a_command_of_the_examples_works(tmp_path: Path, no_figures: None, folder: str, command: str) -> None:
    shutil.copytree(
        ROOT / "examples" / folder, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__", "outputs")
    )
    done = run(tmp_path / "copy", command)
    assert done.code == 0, done.output
    assert run(tmp_path / "copy", f"{command} no.such_key=1").code == 2


@pytest.mark.parametrize("override", ["algorithm.temperature=0", "algorithm.temperature=-1", "dataset=sinusoid"])
def test_the_algorithm_refuses_what_it_cannot_do(tmp_path: Path, override: str) -> None:
    shutil.copytree(ROOT / "examples" / "algorithm", tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    command = "metaexp train --config-dir conf --trust my_methods algorithm=centroids model=conv4"
    done = run(tmp_path / "copy", f"{command} {override}")
    assert done.code == 2
    assert "Traceback" not in done.output


def test_the_algorithm_of_the_readme_is_that_of_the_examples() -> None:
    code = (ROOT / "examples" / "algorithm" / "my_methods" / "centroids.py").read_text()
    (shown,) = re.findall(
        r"```python\n# my_methods/centroids.py\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    assert code.partition("\n\n")[2].lstrip() == shown.lstrip()
