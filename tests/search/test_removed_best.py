"""A search whose best trial was removed does not advise to test it."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from metaexp.cli.main import main
from metaexp.search.prepare import prepare
from metaexp.search.run import search

CONF = Path("conf")
ASKED = ["algorithm.inner_lr=0.1,0.2", "search=grid"]


def run(family: ModuleType, *more: str) -> int:
    asked = [*family.COMMON, *ASKED, *more, "search.folder=found"]
    return search(prepare(asked, CONF, "config"), asked, CONF)


def commands(text: str) -> list[str]:
    """What is advised after a colon or below ``next``."""
    lines = [line.partition(": ")[2] or line.strip() for line in text.splitlines()]
    return [line for line in lines if line.startswith("metaexp ")]


@pytest.fixture
def best(family: ModuleType, capsys: pytest.CaptureFixture[str]) -> Path:
    """The best trial of a search that has ended."""
    assert run(family) == 0
    (test,) = [line for line in commands(capsys.readouterr().out) if line.startswith("metaexp evaluate ")]
    folder = Path(shlex.split(test)[-1])
    assert folder.parent == Path("found")
    assert folder.is_dir()
    return folder


@pytest.mark.parametrize("more", [[], ["search.test_best=true"]])
def test_what_is_advised_can_be_done(
    family: ModuleType, best: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    shutil.rmtree(best)
    capsys.readouterr()
    assert run(family, *more) == 0
    out = capsys.readouterr().out
    assert f"its folder {best} was removed, so it cannot be tested" in out
    assert "\nits values: algorithm.inner_lr=0." in out
    (again,) = commands(out)
    assert again.startswith("metaexp train --config-dir found/best --trust ")
    assert main(shlex.split(again)[1:]) == 0
    capsys.readouterr()
    assert main(["show", "found"]) == 0
    assert "evaluate" not in capsys.readouterr().out


@pytest.mark.parametrize("other", ["# Trial:    9, of another search", ""])
def test_an_experiment_of_another_trial_is_not_advised(
    family: ModuleType, best: Path, capsys: pytest.CaptureFixture[str], other: str
) -> None:
    file = Path("found/best/experiment/best.yaml")
    lines = file.read_text().splitlines()
    file.write_text("\n".join(other if line.startswith("# Trial:") else line for line in lines))
    shutil.rmtree(best)
    assert run(family) == 0
    assert commands(capsys.readouterr().out) == []
    file.unlink()
    assert run(family) == 0
    assert commands(capsys.readouterr().out) == []
