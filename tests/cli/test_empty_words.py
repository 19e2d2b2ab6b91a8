"""Values that are empty, as from a variable of the shell that is not set: what is missing is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from metaexp.cli.main import VERBS, main

OLD = Path(__file__).resolve().parents[1] / "old_runs" / "completed"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["from=", "train.steps=9"], "from= names no run folder. Give that of the run to continue"),
        (["from=''", "train.steps=9"], "from= names no run folder"),
        (["model.weights="], "model.weights= names no file. Give a .safetensors or .pt file, or a run folder."),
        (["experiment="], "experiment= names no file of the group experiment. Known: "),
        (["optimizer="], "optimizer= names no file of the group optimizer. Known: adam, sgd."),
        (["optimizer=ada"], "optimizer=ada is not there."),
        (["--config-dir="], "--config-dir= has no value."),
        (["--trust", ""], "a word after the verb is empty."),
    ],
)
def test_what_an_empty_value_lacks_is_said(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"metaexp train: {said}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", VERBS)
def test_an_empty_word_is_not_the_current_folder(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(OLD, run)
    monkeypatch.chdir(run)
    before = sorted(run.rglob("*"))
    assert main([verb, *(["--yes"] if verb == "rm" else []), ""]) == 2
    assert "a word after the verb is empty. Give what belongs there" in capsys.readouterr().err
    assert sorted(run.rglob("*")) == before


def test_the_current_folder_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(OLD, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    assert main(["show", "."]) == 0
    assert main(["completion", "--complete", ""]) == 0
