"""Folders with unusual names, as users type them."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from metaexp.cli.arguments import starts_with_folder
from metaexp.cli.main import main
from metaexp.run.folder import resume_command

OLD = Path(__file__).resolve().parents[1] / "old_runs" / "completed"


@pytest.mark.parametrize("verb", ["evaluate", "reproduce"])
def test_a_run_in_a_folder_with_an_equals_sign_is_found(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OLD, tmp_path / "lr=0.1,seed=7")
    assert main([verb, "lr=0.1,seed=7", "task.n_way=-1"]) == 2
    assert "n_way" in capsys.readouterr().err
    assert main([verb, "lr=0.2,seed=7"]) == 2
    assert "n_way" not in capsys.readouterr().err


def test_a_value_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert starts_with_folder(["a_run"])
    assert not starts_with_folder(["seed=3"])
    assert not starts_with_folder([])


@pytest.mark.parametrize("name", ["plain", "with space", "it's", "$HOME", "a;b", "lr=0.1"])
def test_the_command_that_continues_a_run_can_be_pasted_into_a_shell(name: str) -> None:
    assert shlex.split(resume_command(Path("outputs") / name)) == ["metaexp", "train", f"resume=outputs/{name}"]


def test_an_override_written_as_an_option_is_shown_as_it_should_be(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("train", "data"):
        with pytest.raises(SystemExit) as caught:
            main([verb, "--train.steps=5", "--seed=3"])
        assert caught.value.code == 2
        assert "write train.steps=5 seed=3, without --" in capsys.readouterr().err
