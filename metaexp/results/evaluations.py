"""Later tests of finished runs, as their folders keep them. ``metaexp evaluate`` writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from metaexp.core.errors import RunFolderError
from metaexp.core.files import read_regular
from metaexp.results.reading import ADDED, FaultError, build
from metaexp.results.record import Machine, RunRecord, Score, Task

EVALUATIONS = "evaluations"
"""The folder of later tests, in a run folder."""
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Evaluation:
    """A later test of a run's selected weights, as in ``evaluations/<id>.json``. ``<id>.csv`` has every episode."""

    run: str
    run_config_hash: str
    overrides: list[str]
    algorithm: str
    dataset: str
    task: Task
    eval_seed: int
    selected_step: int
    test: Score
    after_steps: list[Score]
    batch_norm: str
    data_hash: str
    episode_bank: str
    config: dict[str, Any]
    config_hash: str
    device: Machine
    versions: dict[str, str]
    finished: str
    trained_classes: int = field(default=0, metadata=ADDED)
    """How many of the test classes the run was trained on."""
    changed_code: list[str] = field(default_factory=list, metadata=ADDED)
    """Files of the user's own code that were edited between the training and this test."""
    episodes_sha256: str | None = field(default=None, metadata=ADDED)
    """Of ``<id>.csv``, hex; null in a test of before."""
    metrics: list[Score] = field(default_factory=list, metadata=ADDED)
    """Those of ``eval.metrics``."""
    domains: dict[str, Score] = field(default_factory=dict, metadata=ADDED)
    """The result on each dataset of a mixture; empty for other data."""
    schema_version: int = SCHEMA_VERSION


class Kept(NamedTuple):
    """A later test, and the path of its JSON file."""

    evaluation: Evaluation
    path: Path

    @property
    def episodes(self) -> Path:
        """The file with the metric of every episode."""
        return self.path.with_suffix(".csv")


def evaluations(folder: Path, record: RunRecord) -> list[Kept]:
    """Read the later tests of a run's selected weights, the oldest first.

    Files that are damaged, or of weights or settings that the run no longer has, are passed over.

    Args:
        folder: The run folder.
        record: The run's record.
    """
    found = []
    for path in (folder / EVALUATIONS).glob("*.json"):
        evaluation = _read(path)
        if evaluation is None or evaluation.selected_step != record.selected_step:
            continue
        if evaluation.run_config_hash == record.config_hash:
            found.append(Kept(evaluation, path))
    return sorted(found, key=lambda kept: (kept.evaluation.finished, kept.path.name))


def as_trained(folder: Path, record: RunRecord) -> Kept | None:
    """Return the first later test with the run's own settings; None if there is none.

    It stands for the test of a run that ended before one (``eval.test=false``). A test with edited code does not.

    Args:
        folder: The run folder.
        record: Its record.
    """
    own = (kept for kept in evaluations(folder, record) if not kept.evaluation.overrides)
    return next((kept for kept in own if not kept.evaluation.changed_code), None)


def _read(path: Path) -> Evaluation | None:
    try:
        content = json.loads(read_regular(path))
        if not isinstance(content, Mapping) or content.get("schema_version") != SCHEMA_VERSION:
            return None
        found: Evaluation = build(Evaluation, content)
    except (OSError, ValueError, RecursionError, RunFolderError, FaultError):
        return None
    return found
