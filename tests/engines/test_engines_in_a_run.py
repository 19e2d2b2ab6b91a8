"""Whole runs with both engines of the inner loop: the same metrics to rounding, and a refusal without the other."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from metaexp.config.identity import config_hash
from metaexp.core.errors import ConfigError
from metaexp.core.json_lines import read_lines
from metaexp.run.job import run_job
from metaexp.run.progress import Lines

RATES = {"inner_lr": 0.1, "inner_steps": 2, "inner_steps_test": 3, "first_order": False, "batch_norm": "episode"}
NODES: dict[str, dict[str, Any]] = {
    "maml": RATES | {"_target_": "metaexp.algorithms.maml.MAML", "adapt": "no_batch_norm"},
    "anil": RATES | {"_target_": "metaexp.algorithms.anil.ANIL"},
    "meta_sgd": {
        "_target_": "metaexp.algorithms.meta_sgd.MetaSGD", "alpha_min": 0.05, "alpha_max": 0.2, "inner_steps": 2,
        "inner_steps_test": 2, "first_order": False, "batch_norm": "transductive",
    },
}  # fmt: skip


def node(name: str, engine: str) -> dict[str, Any]:
    scale = {} if name == "meta_sgd" else {"inner_loss_reduction": "mean"}
    return NODES[name] | scale | {"engine": engine}


def settings(tiny: ModuleType, outputs: Path, name: str, engine: str, **changes: Any) -> Any:
    model = {"_target_": "tiny_runs.Net", "width": 8, "dropout": 0.0}
    optimizer = {"_target_": "torch.optim.SGD", "lr": 0.05}  # Adam makes whole steps of rounding, where a gradient is 0
    return tiny.settings(outputs, algorithm=node(name, engine), model=model, optimizer=optimizer, **changes)


@pytest.mark.parametrize("name", NODES)
def test_a_run_gives_the_same_metrics_with_both_engines(
    learn2learn: ModuleType, tiny: ModuleType, tmp_path: Path, silent: Lines, name: str
) -> None:
    def metrics(engine: str, **changes: Any) -> list[tuple[int, dict[str, Any]]]:
        made = settings(tiny, tmp_path / engine, name, engine, **changes)
        finished = run_job(made, display=silent)
        assert finished.record.status == "completed"
        return list(read_lines(finished.folder / "metrics.jsonl"))

    ours, looped, theirs = metrics("metaexp"), metrics("metaexp", device__task_chunk=1), metrics("learn2learn")
    assert [(step, values.keys()) for step, values in ours] == [(step, values.keys()) for step, values in theirs]
    assert len(ours) > 6
    numbers = [[value for _, values in lines for value in values.values()] for lines in (ours, looped, theirs)]
    assert numbers[1] == pytest.approx(numbers[2], rel=1e-5, abs=1e-6)
    assert numbers[0] == pytest.approx(numbers[2], rel=1e-3, abs=1e-6)  # tasks at once round in another order
    other = [value for _, values in metrics("metaexp", seed=1) for value in values.values()]
    assert numbers[0] != pytest.approx(other, rel=1e-2)


def test_without_learn2learn_nothing_is_written(
    tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def missing(name: str, package: str | None = None) -> ModuleType:
        if name == "learn2learn":
            raise ModuleNotFoundError("No module named 'learn2learn'", name=name)
        return real(name, package)

    monkeypatch.setattr("metaexp.engines.learn2learn.importlib.import_module", missing)
    with pytest.raises(ConfigError, match=r"algorithm\.engine=learn2learn: .*`make learn2learn`.*engine=metaexp"):
        run_job(settings(tiny, tmp_path / "out", "maml", "learn2learn"), display=silent)
    assert not (tmp_path / "out").exists()


def test_an_engine_that_is_not_known_is_refused(tiny: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"algorithm\.engine=higher must be one of metaexp, learn2learn"):
        settings(tiny, tmp_path, "maml", "higher")


def test_runs_from_before_there_were_engines_keep_their_hash(tiny: ModuleType, tmp_path: Path) -> None:
    now = settings(tiny, tmp_path, "maml", "metaexp").resolved
    before = {**now, "algorithm": {key: value for key, value in now["algorithm"].items() if key != "engine"}}
    assert config_hash(before) == config_hash(now)
    assert config_hash(settings(tiny, tmp_path, "maml", "learn2learn").resolved) != config_hash(now)
