"""A mistyped folder or file of a run: every verb that is given one proposes the nearest path that is there."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

import metaexp as mx
from metaexp.cli.main import main
from metaexp.core.disk.nearest import nearest_path
from metaexp.core.errors import MetaexpError
from metaexp.results.record import read_record

COMMANDS = {
    "evaluate runs/sed0": "runs/seed0",
    "evaluate runz": "runs",
    "evaluate runs/seed0 runs/sed0": "runs/seed0",
    "train resume=runs/sed0": "runs/seed0",
    "train resume=RUNS/seed0": "runs/seed0",
    "train from=runs/sed0 train.steps=9": "runs/seed0",
    "plan from=runs/sed0 seed=0,1": "runs/seed0",
    "train model.weights=runs/sed0": "model.weights={here}/runs/seed0",
    "train model.weights=runs/seed0/weigths.pt": "model.weights={here}/runs/seed0/weights.pt",
    "train --config-dir runz": "runs",
    "why runs/sed0 runs/seed0": "runs/seed0",
    "why runs/sed0/record.json runs/seed0": "runs/seed0/record.json",
    "reproduce runs/sed0": "runs/seed0",
    "reproduce runs/sed0 --weights": "runs/seed0",
    "reproduce maml_glyph --weights": "docs/results/maml_glyphs",
    "compare runs/sed0": "runs/seed0",
    "leaderboard runs/sed0 --output page.html": "runs/seed0",
    "predict runs/sed0 --support runs --query runs": "runs/seed0",
    "show runs/sed0": "runs/seed0",
    "watch runs/sed0": "runs/seed0",
    "ls runz": "runs",
    "rm runs/sed0": "runs/seed0",
    "trust runz": "runs",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("runs/seed0", "runs/my photos", "docs/results/maml_glyphs"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("weights.pt", "record.json"):
        (tmp_path / "runs/seed0" / name).touch()
    (tmp_path / "runs/sed").touch()  # a file is nearer than the folder, and no run
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_the_nearest_path_is_proposed(here: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main(shlex.split(command)) in (2, 3, 4)
    assert f" Did you mean {COMMANDS[command].format(here=here)}?" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_proposed_where_no_name_is_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)) in (2, 3, 4)
    assert "Did you mean" not in capsys.readouterr().err


def test_python_proposes_it_too(here: Path) -> None:
    for load in (mx.load_run, mx.runs, mx.compare, read_record):
        with pytest.raises(MetaexpError, match=r"Did you mean .*runs/seed0\?"):
            load(Path("runs/sed0"))  # type: ignore[operator]


def test_the_configuration_of_the_environment_too(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("METAEXP_CONFIG_DIR", "runz")
    assert main(["train"]) == 2
    assert " Did you mean METAEXP_CONFIG_DIR=runs? " in capsys.readouterr().err


def test_short_names_and_other_capitals_are_alike(tmp_path: Path) -> None:
    for name in ("RUN", "rum", "b"):
        (tmp_path / name).mkdir()
    np.save(tmp_path / "ruN.npy", np.zeros(1))
    assert nearest_path(tmp_path / "RUM") == tmp_path / "rum"
    assert nearest_path(tmp_path / "RAN") == tmp_path / "RUN"
    assert nearest_path(tmp_path / "run", kind="folder") == tmp_path / "RUN"
    assert nearest_path(Path("run.npy"), within=tmp_path, kind="file") == Path("ruN.npy")
    assert nearest_path(tmp_path / "a") is None
