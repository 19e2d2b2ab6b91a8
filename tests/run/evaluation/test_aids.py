"""What helps where many runs are tested: data are loaded once, and a result is known for the same test only."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from metaexp.data.base import MetaDataset
from metaexp.run.evaluation import aids, evaluate
from metaexp.run.evaluation.aids import Aids, LastData, identity_of
from metaexp.run.evaluation.evaluate import retest
from metaexp.run.progress import Lines

RESULTS = Path(__file__).parents[3] / "docs" / "results"
RUN = RESULTS / "fine_tune_sinusoid"
QUIET = Lines(Console(quiet=True))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[MetaDataset]:
    """The datasets that were loaded."""
    found: list[MetaDataset] = []
    plain = aids.load_dataset

    def load(*arguments: Any) -> MetaDataset:
        found.append(plain(*arguments))
        return found[-1]

    monkeypatch.setattr(aids, "load_dataset", load)
    return found


def test_data_are_loaded_again_for_other_settings_only(loaded: list[MetaDataset]) -> None:
    data = LastData()
    for overrides in ([], ["eval.seed=5"], ["dataset.phase=[0.0,1.0]"], []):
        retest(RUN, ["eval.episodes=4", *overrides], Aids(data.load), QUIET)
    assert len(loaded) == 3
    retest(RUN, ["eval.episodes=4"], Aids(), QUIET)
    assert len(loaded) == 4


def test_data_of_the_users_own_code_are_loaded_each_time(
    loaded: list[MetaDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = LastData()
    plain = aids.load_dataset

    def with_own_code(settings: Any, *more: Any) -> MetaDataset:
        return data.load(dataclasses.replace(settings, own_code=object()), *more)

    assert plain is aids.load_dataset
    for _ in range(2):
        retest(RUN, ["eval.episodes=4"], Aids(with_own_code), QUIET)
    assert len(loaded) == 2


def test_a_result_is_recalled_where_that_is_asked_for_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    keeps = Aids(recalls=True, remembers=True)
    assert not retest(RUN, ["eval.episodes=4"], Aids(recalls=True), QUIET).is_recalled
    first = retest(RUN, ["eval.episodes=4"], keeps, QUIET)
    again = retest(RUN, ["eval.episodes=4"], keeps, QUIET)
    assert [first.is_recalled, again.is_recalled] == [False, True]
    assert again.evaluation == first.evaluation
    assert again.sources == first.sources
    assert not retest(RUN, ["eval.episodes=4"], Aids(remembers=True), QUIET).is_recalled
    for other in ("eval.episodes=5", "eval.seed=3", "task.k_shot=4"):
        assert not retest(RUN, ["eval.episodes=4", other], keeps, QUIET).is_recalled


def identity(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Mapping[str, Any] | None:
    """What decides the result of a test, with other arguments."""
    found: list[Mapping[str, Any] | None] = []

    def note(weights: Any, settings: Any, compute: Any, data_hash: str, episode_bank: str) -> Any:
        if "weight" in changes:
            tensor = next(tensor for tensor in weights.weights.values() if tensor.is_floating_point())
            tensor.view(-1).view(torch.int32)[0] ^= 1  # the last bit
        if changes.get("own_code"):
            settings = dataclasses.replace(settings, own_code=object())
        if "threads" in changes:
            compute = dataclasses.replace(compute, threads=7)
        found.append(
            identity_of(weights, settings, compute, changes.get("data", data_hash), changes.get("bank", episode_bank))
        )
        return found[-1]

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "identity_of", note)
        if "sources" in changes:
            patch.setattr(aids, "sources_digest", lambda: "f" * 64)
        if "torch" in changes:
            patch.setattr(aids, "versions", lambda: {"torch": "1"})
        retest(RUN, ["eval.episodes=4"], Aids(), QUIET)
    return found[0]


CHANGES = {
    "weight": True, "data": "e" * 64, "bank": "f" * 64, "sources": True, "torch": True, "threads": True,
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_all_that_decides_a_result_is_part_of_its_identity(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = identity(monkeypatch)
    assert plain == identity(monkeypatch)
    assert plain != identity(monkeypatch, **{change: CHANGES[change]})


def test_a_test_that_runs_the_users_own_code_has_no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    assert identity(monkeypatch) is not None
    assert identity(monkeypatch, own_code=True) is None
