"""What an algorithm does at test decides no training, so a later test with it may be a test of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from metaexp.config.compose import Composer
from metaexp.core.over_tasks import over_tasks
from metaexp.machine.device import use_device
from metaexp.reproduce.saved_experiment import _AT_TEST
from metaexp.run.build import build

FILES = sorted((Path(__file__).parents[2] / "conf" / "algorithm").glob("*.yaml"))
OTHERS: Mapping[Any, Any] = {None: 3.0, "head": "all"}
"""Another value in place of one that is not a number."""


def changes() -> list[tuple[str, str]]:
    """Each argument that only tests use, with another value: algorithm, override."""
    found = []
    for path in FILES:
        arguments: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key, value in arguments.items():
            if _AT_TEST.match(f"algorithm.{key}="):
                other = 2 * value if isinstance(value, int | float) else OTHERS[value]
                found.append((path.stem, f"algorithm.{key}={other}"))
    return found


def loss(tmp_path: Path, algorithm: str, *more: str) -> float:
    """The loss of the first training task."""
    settings = Composer().settings(
        [
            f"algorithm={algorithm}", "dataset=glyphs", "dataset.train_classes=6", "dataset.val_classes=5",
            "dataset.test_classes=5", "dataset.per_class=12", "train.n_query=1", "task.n_query=1", "model.channels=8",
            f"paths.data={tmp_path}", "device=cpu", "tracker=files", *more,
        ]
    )  # fmt: skip
    with use_device(settings.device) as compute:
        parts = build(settings, compute, lambda _: None)
        parts.algorithm.train()
        parts.algorithm.set_progress(1, 2)
        episodes = parts.train_source.episodes("train", torch.tensor([0]))
        return float(over_tasks(parts.algorithm.meta_loss, episodes, 1).detach())


@pytest.mark.parametrize(("algorithm", "change"), changes())
def test_what_an_algorithm_does_at_test_does_not_change_its_training(
    algorithm: str, change: str, tmp_path: Path
) -> None:
    cosine = ["algorithm.head=cosine"] if algorithm == "fine_tune" else []
    assert loss(tmp_path, algorithm, *cosine, change) == loss(tmp_path, algorithm, *cosine)


@pytest.mark.parametrize(
    "changed",
    [
        ("maml", "algorithm.inner_lr=0.1"),
        ("fine_tune", "algorithm.cosine_scale=3"),
        ("maml", "algorithm.inner_steps=2"),
    ],
)
def test_other_arguments_change_the_training(changed: tuple[str, str], tmp_path: Path) -> None:
    algorithm, change = changed
    cosine = ["algorithm.head=cosine"] if algorithm == "fine_tune" else []
    assert not _AT_TEST.match(change)
    assert loss(tmp_path, algorithm, *cosine, change) != loss(tmp_path, algorithm, *cosine)


def test_each_algorithm_with_steps_at_test_is_among_them() -> None:
    assert {algorithm for algorithm, _ in changes()} == {
        "anil", "fine_tune", "maml", "maml_plus_plus", "meta_lstm", "meta_sgd", "reptile",
    }  # fmt: skip
