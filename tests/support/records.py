"""A finished run's record, to be changed with dataclasses.replace."""

from __future__ import annotations

import pytest

from metaexp.results.record import Git, Machine, Reference, RunRecord, Score, Task, Verdict


@pytest.fixture
def record() -> RunRecord:
    return make_record()


def make_record() -> RunRecord:
    """A record with a value in every field."""
    return RunRecord(
        status="completed",
        name="maml_omniglot_5way_1shot-seed0",
        algorithm="maml",
        dataset="omniglot",
        model="omniglot_conv",
        task=Task(5, 1, 1),
        seed=0,
        config={
            "seed": 0,
            "train": {"steps": 6000},
            "algorithm": {"inner_lr": 0.4},
            "tracker": {"wandb": {"_target_": "metaexp.tracking.wandb.WandbTracker", "entity": "someone", "tags": []}},
            "paths": {"data": "/home/someone/data", "outputs": "/home/someone/outputs"},
        },
        config_hash="c" * 64,
        experiment="maml_omniglot_5way_1shot",
        overrides=["train.steps=6000", "paths.data=/home/someone/data"],
        steps=6000,
        full_steps=60000,
        selected_step=5500,
        val=Score("accuracy", 0.985, 0.003, 200),
        test=Score("accuracy", 0.9827, 0.0031, 600),
        after_steps=[
            Score("accuracy", 0.2, 0.01, 600),
            Score("accuracy", 0.97, 0.004, 600),
            Score("accuracy", 0.9827, 0.0031, 600),
        ],
        batch_norm="transductive",
        first_order=False,
        reference=Reference("Finn, Abbeel & Levine, ICML 2017", "Table 1", "accuracy", 0.987, 0.004, "600 tasks"),
        verdict=Verdict("shortened", 0.9827 - 0.987, "shortened (6,000 of 60,000 steps): 0.4 points below, one seed"),
        data_hash="d" * 64,
        episode_bank="e" * 64,
        n_parameters=111_557,
        seconds=1234.5,
        episodes_per_second=160.0,
        peak_memory_bytes=2**30,
        device=Machine("cpu", "AMD EPYC", "float32", 2, True, None),
        git=Git("a" * 40, False),
        versions={"metaexp": "0.1.0", "torch": "2.13.0+cpu"},
        started="2026-11-23T06:54:17Z",
        finished="2026-11-23T07:14:51Z",
    )
