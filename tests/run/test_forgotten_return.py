"""A method of an own algorithm whose ``return`` is forgotten ends a run with a sentence that says so."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import Tensor

from metaexp.core.errors import ConfigError
from metaexp.machine.failures import explained
from metaexp.run.job import run_job
from metaexp.run.progress import Lines

ALGORITHMS = {
    "TinyMAML": {"_target_": "tiny_runs.TinyMAML", "inner_lr": 0.1},  # trained: the first step finds it
    "SupportMean": {"_target_": "tiny_runs.SupportMean"},  # not trained: the test finds it
}


def forget(self: Any, *given: Any) -> None:
    """Compute and return nothing."""


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("chunk", [1, None])
def test_of_adapt(
    tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch, name: str, chunk: int | None
) -> None:
    monkeypatch.setattr(getattr(tiny, name), "adapt", forget)
    settings = tiny.settings(tmp_path, algorithm=ALGORITHMS[name], device__task_chunk=chunk)
    with pytest.raises(ConfigError, match=f"adapt of {name} returned None.*Error: .*Is `return` forgotten") as raised:
        run_job(settings, display=silent)
    assert raised.value.__cause__ is not None  # the place in the user's code


@pytest.mark.parametrize("name", ALGORITHMS)
def test_of_predict(
    tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(getattr(tiny, name), "predict", forget)
    settings = tiny.settings(tmp_path, algorithm=ALGORITHMS[name])
    with pytest.raises(ConfigError, match="predictions are of the type NoneType.*Is `return` forgotten"):
        run_job(settings, display=silent)


def test_an_algorithm_that_needs_nothing_of_the_support_may_return_none(
    tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny.SupportMean, "adapt", forget)
    monkeypatch.setattr(tiny.SupportMean, "predict", lambda self, adapted, x: x.new_zeros(len(x), 1))
    settings = tiny.settings(tmp_path, algorithm=ALGORITHMS["SupportMean"])
    assert run_job(settings, display=silent).record.status == "completed"


@pytest.mark.parametrize("adapted", [1.0, ()])
def test_another_error_of_predict_stays_what_it_is(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch, adapted: Any
) -> None:
    def predict(self: Any, adapted: Any, x: Tensor) -> Tensor:
        raise TypeError("of the user")

    monkeypatch.setattr(tiny.SupportMean, "predict", predict)
    with pytest.raises(TypeError) as raised:
        tiny.SupportMean().predict(adapted, None)
    assert explained(raised.value) is None
    with pytest.raises(TypeError) as raised:
        tiny.SupportMean().predict(None, None)
    assert explained(raised.value) is not None
