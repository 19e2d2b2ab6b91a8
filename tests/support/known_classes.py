"""Tiny runs on made-up characters of Omniglot, one of which starts from the weights of another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import metaexp as mx
from metaexp.data.base import Dataset

TINY = [
    "dataset=omniglot", "dataset.stand_in=true", "dataset.stand_in_images=5", "algorithm=proto_net", "model=mlp",
    "model.hidden=[4]", "task.n_query=2", "train.steps=1", "train.n_way=5", "train.n_query=2",
    "train.meta_batch_size=1", "train.eval_episodes=1", "eval.episodes=2", "eval.weights=last", "device=cpu",
    "tracker=files",
]  # fmt: skip
DONOR = "dataset.split=vinyals_trainval"
"""It trains on most test classes of dataset.split=maml, and on all validation classes of dataset.split=vinyals."""


def train(folder: str, *overrides: str) -> mx.Run:
    """Train a tiny run in a folder."""
    return mx.train(*TINY, *overrides, folder=folder)


@pytest.fixture(scope="session")
def place_of_donor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was trained on these classes, ``donor``, and with the data that were drawn for it."""
    place = tmp_path_factory.mktemp("donor") / "place"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METAEXP_DATA", str(place))
        patch.setattr("metaexp.run.outputs.draw", lambda *_: {})
        train(str(place / "donor"), DONOR)
    return place


@pytest.fixture
def with_donor(place_of_donor: Path, tmp_path: Path, no_figures: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder is an empty one with a copy of this run, ``donor``, and its data are found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METAEXP_DATA", str(place_of_donor))
    shutil.copytree(place_of_donor / "donor", "donor")


def know_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only the drawings tell the classes of Omniglot."""
    monkeypatch.setattr("metaexp.data.omniglot.Omniglot.class_ids_in", Dataset.class_ids_in)


def forbid(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let a function fail, as if the process were killed where it is called."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError(f"{name.rpartition('.')[2]} was called")

    monkeypatch.setattr(name, fail)
