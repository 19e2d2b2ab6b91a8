"""A run of a network of one's own that gives probabilities says so, where the loss takes the softmax of scores."""

from __future__ import annotations

import io
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console
from torch import Tensor

from metaexp.run.job import resume_job, run_job
from metaexp.run.progress import Lines

SAID = "the scores of Net are probabilities: they sum to 1, as after softmax."


def shown_by(display: io.StringIO) -> Lines:
    return Lines(Console(file=display, width=1000))


@pytest.fixture
def softmax(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the network of tiny runs end in softmax."""
    forward = tiny.Net.forward

    def with_softmax(self: Any, x: Tensor) -> Tensor:
        scores: Tensor = forward(self, x).softmax(-1)
        return scores

    monkeypatch.setattr(tiny.Net, "forward", with_softmax)


def settings_of(tiny: ModuleType, folder: Path, **changes: Any) -> Any:
    maml = {"_target_": "tiny_runs.TinyMAML", "inner_lr": 0.1}
    model = {"_target_": "tiny_runs.Net", "width": 8, "dropout": 0.1}
    return tiny.blobs(folder, algorithm=maml, model=model, **changes)


@pytest.mark.usefixtures("softmax")
def test_a_network_that_gives_probabilities_is_warned_of_once_when_its_run_begins(
    tiny: ModuleType, tmp_path: Path
) -> None:
    shown = io.StringIO()
    paused = run_job(settings_of(tiny, tmp_path), display=shown_by(shown), stop_after=5)
    assert shown.getvalue().count(f"warning: {SAID}") == 1
    log = (paused.folder / "run.log").read_text()
    assert log.count(f"WARNING {SAID}") == 1
    resume_job(paused.folder, shown_by(shown))
    assert shown.getvalue().count(SAID) == 1
    assert (paused.folder / "run.log").read_text().startswith(log)


@pytest.mark.usefixtures("softmax")
@pytest.mark.parametrize("kind", ["regression", "a loss of its own"])
def test_nothing_is_said_where_no_softmax_is_taken(
    tiny: ModuleType, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(_: object, scores: Tensor, y: Tensor) -> Tensor:
        return -scores.gather(-1, y.unsqueeze(-1)).log().mean()

    shown = io.StringIO()
    if kind == "regression":
        settings = tiny.settings(tmp_path, train__steps=1)
    else:
        settings = settings_of(tiny, tmp_path, train__steps=1)
        monkeypatch.setattr(tiny.TinyMAML, "loss", loss)
    done = run_job(settings, display=shown_by(shown))
    assert SAID not in shown.getvalue() + (done.folder / "run.log").read_text()
