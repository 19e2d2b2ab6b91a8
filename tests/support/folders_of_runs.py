"""Folders of runs, sweeps and searches as metaexp leaves them, written in no time: nothing is trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metaexp.config.identity import config_hash
from metaexp.results.job_note import Note, write_note
from metaexp.results.record import RunRecord, Score, Task, write_record
from metaexp.sweep.folder import Sweep, create
from metaexp.sweep.frozen_job import FrozenJob

CONFIG: dict[str, Any] = {
    "seed": 0,
    "algorithm": {"_target_": "metaexp.algorithms.maml.MAML", "inner_lr": 0.4, "first_order": False},
    "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.001},
    "task": {"n_way": 5, "k_shot": 1, "n_query": 15},
    "train": {"steps": 600, "meta_batch_size": 4},
}


def config(**changes: Any) -> dict[str, Any]:
    """The settings of a run, with other values: ``train__steps=5``."""
    made: dict[str, Any] = json.loads(json.dumps(CONFIG))
    for key, value in changes.items():
        section, _, name = key.rpartition("__")
        (made[section] if section else made)[name] = value
    return made


def a_record(status: str = "completed", seed: int = 0, test: float | None = 0.5, **fields: Any) -> RunRecord:
    """The record of a small run."""
    score = None if test is None else Score("accuracy", test, 0.01, 600)
    made = RunRecord(
        status=status,  # type: ignore[arg-type]
        name=f"maml-glyphs-5way_1shot-seed{seed}",
        algorithm="maml",
        dataset="glyphs",
        model="mlp",
        task=Task(5, 1, 15),
        seed=seed,
        config=config(seed=seed),
        config_hash="",
        steps=600,
        selected_step=400,
        val=Score("accuracy", 0.6, 0.02, 200),
        test=score,
        seconds=12.0,
        started="2026-11-23T06:00:00Z",
        finished=f"2026-11-23T07:{seed:02d}:00Z",
    )
    made = replace(made, **fields)
    return made if made.config_hash else replace(made, config_hash=config_hash(made.config))


def write_settings(folder: Path, record: RunRecord) -> None:
    """Write the two files of a run's configuration."""
    (folder / "choices.yaml").write_text("algorithm: maml\ndataset: glyphs\noptimizer: adam\nmodel: mlp\n")
    (folder / "config.yaml").write_text(json.dumps(record.config))


def write_weights(folder: Path) -> None:
    """Write a file of selected weights that nobody reads."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "best.safetensors").write_bytes(bytes(1000))


def write_run(folder: Path, record: RunRecord | None = None) -> Path:
    """Write the folder of a run, with files of 1,000 bytes beside the record."""
    record = record or a_record()
    write_weights(folder)
    write_settings(folder, record)
    (folder / "run.log").write_text("hello\n")
    write_record(record, folder)
    return folder


def a_job(number: int, **changes: Any) -> FrozenJob:
    """A job of a sweep over seeds."""
    choices = {"algorithm": "maml", "dataset": "glyphs", "model": "mlp"}
    return FrozenJob(
        number, f"{number:03d}-maml-glyphs-seed{number}", f"seed={number}", [], config(seed=number, **changes), choices,
        str(number) * 64, group="sweep",
    )  # fmt: skip


def write_sweep(folder: Path, *statuses: str) -> Sweep:
    """Write a sweep with a job for each status: waiting, completed, failed, killed or interrupted."""
    sweep = create(folder, ["metaexp", "train", "-m", "seed=0,1"], "d" * 64, [a_job(n) for n in range(len(statuses))])
    for number, status in enumerate(statuses):
        inner = sweep.path / sweep.names()[number]
        if status == "completed":
            write_record(a_record(seed=number, test=0.4 + number / 100), inner)
        elif status != "waiting":
            error = "DataError: no such file" if status == "failed" else None
            write_note(inner, Note(status, 1, 1, "here", 3, error))  # type: ignore[arg-type]
    return sweep


def write_search(folder: Path, *, is_done: bool = True) -> Path:
    """Write a search of two trials, of which the second one is the best."""
    sweep = create(folder, ["algorithm.inner_lr=0.1,0.2"], "e" * 64, [])
    for number, val in enumerate((0.4, 0.7)):
        inner = sweep.add(a_job(number))
        record = a_record(seed=number, test=None, val=Score("accuracy", val, 0.01, 200))
        write_record(record, inner)
        write_settings(inner, record)
        write_weights(inner)
    trials = [{"number": n, "state": "complete", "value": v, "folder": a_job(n).name} for n, v in ((0, 0.4), (1, 0.7))]
    report = {"metric": "val/accuracy", "is_done": is_done, "best": 1, "trials": trials}
    (folder / "search.json").write_text(json.dumps(report))
    return folder


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder ``outputs`` with two runs, a sweep and a search, in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_run(Path("outputs/first"))
    write_run(Path("outputs/second"), a_record("failed", seed=1, test=None, val=None, error="DataError: it is gone"))
    write_sweep(Path("outputs/sweeps/seeds"), "completed", "failed", "waiting")
    write_search(Path("outputs/searches/rates"))
    return Path("outputs")
