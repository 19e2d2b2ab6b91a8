"""Run folders of made-up numbers, written as runs write them."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metaexp.core.intervals import mean_interval
from metaexp.core.json_lines import encode
from metaexp.results.episodes import write_episodes
from metaexp.results.evaluations import Evaluation
from metaexp.results.record import RunRecord, Score, Task, write_record

MakeRun = Callable[..., Path]
HOSTILE = ["<script>alert(1)</script>", "a\"b'c & $x_1$ %", '=HYPERLINK("http://x")', "_low | `tick` \x1b[31mred"]


@pytest.fixture
def make_run(record: RunRecord, tmp_path: Path) -> MakeRun:
    """A factory of run folders under ``tmp_path/sweep``, as of :func:`factory_of_runs`."""
    return factory_of_runs(record, tmp_path / "sweep")


def factory_of_runs(record: RunRecord, sweep: Path) -> MakeRun:
    """A factory of run folders under ``sweep``.

    mean: of the run, in log-odds (or of the error for mse). shot, way: of the task; each has its own bank. config:
    dotted keys to set. Other keywords replace fields of the record.
    """
    count = iter(range(1000))

    def make(
        algorithm: str = "maml", seed: int = 0, mean: float = 2.0, *, shot: int = 1, way: int = 5, n: int = 80,
        metric: str = "accuracy", config: dict[str, Any] | None = None, steps: int = 2, folder: str | None = None,
        **fields: Any,
    ) -> Path:  # fmt: skip
        number = next(count)
        generator = np.random.default_rng([seed, number])
        episodes = np.random.default_rng([shot, way]).standard_normal(n)
        own = mean + 0.1 * generator.standard_normal()
        rows = [_values(metric, own * (step > 0 or steps == 0), episodes, generator) for step in range(steps + 1)]
        scores = [Score(metric, *mean_interval(row), n) for row in rows]
        settings = copy.deepcopy(record.config) | {"seed": seed, "task": {"n_way": way, "k_shot": shot, "n_query": 5}}
        settings["eval"] = {"episodes": n, "seed": 1000}
        for key, value in (config or {}).items():
            section, _, name = key.partition(".")
            settings[section] = settings.get(section, {}) | {name: value}
        place = sweep / (folder or f"run_{number:03d}")
        place.mkdir(parents=True)
        content = dataclasses.replace(
            record, algorithm=algorithm, seed=seed, task=Task(way, shot, 5), test=scores[-1], config=settings,
            after_steps=scores if steps else [], episode_bank=f"bank{way}{shot}{n}".ljust(64, "0"),
            config_hash=f"{algorithm}{sorted(settings.items(), key=str)}", verdict=None, reference=None,
            experiment=None,
        )  # fmt: skip
        write_record(dataclasses.replace(content, **fields), place)
        write_episodes(place / "test_episodes.csv", rows)
        lines = [encode(s, {f"val/{metric}": 0.5 + s / 1000, "val/ci95": 0.01}) for s in (100, 200, 300)]
        lines.append(encode(300, {f"test/{metric}": scores[-1].mean, "test/ci95": scores[-1].ci95}))
        (place / "metrics.jsonl").write_bytes(b"".join(lines))
        return place

    return make


def _values(
    metric: str, mean: float, episodes: np.ndarray[Any, np.dtype[np.float64]], generator: np.random.Generator
) -> list[float]:
    noise = 0.3 * generator.standard_normal(len(episodes))
    if metric == "mse":
        return [float(value) for value in mean + 0.2 * episodes + noise * 0.2 + 2.0]
    chance = 1 / (1 + np.exp(-(mean + 0.8 * episodes + noise)))
    return [float(value) for value in generator.binomial(25, chance) / 25]


@pytest.fixture
def sweep(make_run: MakeRun, tmp_path: Path) -> Path:
    """Three algorithms with three seeds each: two alike, one far behind."""
    for seed in range(3):
        make_run("maml", seed, 2.0)
        make_run("proto_net", seed, 2.03, batch_norm="running", first_order=None, steps=0, seconds=100.0)
        make_run("meta_lstm", seed, -1.0, batch_norm="episode", first_order=True, seconds=5000.0)
    return tmp_path / "sweep"


def decide(config: Mapping[str, Any]) -> dict[str, Any]:
    """The deciding part, as the runner says it, with one argument at its default."""
    kept = {key: value for key, value in config.items() if key not in ("paths", "tracker", "reference", "device")}
    optimizer = {key: value for key, value in kept.get("optimizer", {}).items() if (key, value) != ("amsgrad", False)}
    bank = {key: value for key, value in kept.get("eval", {}).items() if key != "test"}
    return {**kept, "optimizer": optimizer, "eval": bank}


def keep(folder: Path, record: RunRecord, name: str, **changes: object) -> None:
    """Write a later test as ``metaexp evaluate`` does."""
    assert record.test is not None
    assert record.device is not None
    kept = Evaluation(
        run=folder.name, run_config_hash=record.config_hash, overrides=[], algorithm=record.algorithm,
        dataset=record.dataset, task=record.task, eval_seed=0, selected_step=record.selected_step or 0,
        test=record.test, after_steps=[], batch_norm="none", data_hash=record.data_hash or "",
        episode_bank=record.episode_bank or "", config=record.config, config_hash=record.config_hash,
        device=record.device, versions={}, finished="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    (folder / "evaluations").mkdir(exist_ok=True)
    text = json.dumps(dataclasses.asdict(dataclasses.replace(kept, **changes)))  # type: ignore[arg-type]
    (folder / "evaluations" / f"{name}.json").write_text(text)
    shutil.copyfile(folder / "test_episodes.csv", folder / "evaluations" / f"{name}.csv")
