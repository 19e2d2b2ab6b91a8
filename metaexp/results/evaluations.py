"""Later tests of finished runs, as their folders keep them. ``metaexp evaluate`` writes them.

Those in ``later_tests`` are published. ``metaexp report RUN --evaluations`` copies them there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from metaexp.core.counted import counted
from metaexp.core.disk.files import read_regular
from metaexp.core.errors import RunFolderError
from metaexp.core.nested import sha256_of
from metaexp.core.terminal_text import plain
from metaexp.results.display.wording import format_score, format_task
from metaexp.results.episodes import tested_episodes
from metaexp.results.per_class.files import ClassResult, read_classes
from metaexp.results.reading import ADDED, FaultError, build
from metaexp.results.record import DIGEST, Machine, Reference, RunRecord, Score, Task

EVALUATIONS = "evaluations"
"""The folder of later tests, in a run folder."""
PUBLISHED_TESTS = "later_tests"
"""The folder of published later tests, in a published run. Each of them is a row of the results."""
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
    """SHA-256 of ``<id>.csv``, hex; null in older tests."""
    metrics: list[Score] = field(default_factory=list, metadata=ADDED)
    """The metrics of ``eval.metrics``."""
    domains: dict[str, Score] = field(default_factory=dict, metadata=ADDED)
    """The result on each dataset of a mixture; empty for other data."""
    test_classes_sha256: str | None = field(default=None, metadata=ADDED)
    """SHA-256 of ``<id>_classes.csv``, hex; null without ``eval.metrics=[per_class]``."""
    schema_version: int = SCHEMA_VERSION

    def __repr__(self) -> str:
        """The run, the task, the test score, and what was changed for it."""
        what = f"{self.algorithm} on {self.dataset}, {format_task(self.task)}"
        changed = f", with {' '.join(self.overrides)}" if self.overrides else ""
        score = f"test {self.test.metric} {format_score(self.test)}, {counted(self.test.n_episodes, 'episode')}"
        return plain(f"<{type(self).__name__} of {self.run}: {what}: {score}{changed}>")


@dataclass(frozen=True, repr=False)
class PublishedTest(Evaluation):
    """A published later test, as in ``later_tests/<id>.json``: with the saved experiment that it is a test of."""

    experiment: str | None = None
    """The experiment whose settings are those of the test; null where there is none."""
    composed_from: list[str] = field(default_factory=list)
    """The overrides that compose ``config`` from the experiment's file; empty without an experiment."""
    full_steps: int | None = None
    """Training steps of the experiment's file."""
    deviations: list[str] = field(default_factory=list)
    """What differs between the training and that of the experiment, in words."""
    departs: str = ""
    """Whose weights these are, how they were chosen, and where the experiment departs from its paper."""


class Kept(NamedTuple):
    """A later test, and the path of its JSON file."""

    evaluation: Evaluation
    path: Path

    @property
    def episodes(self) -> Path:
        """The file with the metric of every episode."""
        return self.path.with_suffix(".csv")

    @property
    def classes(self) -> Path:
        """The file with the accuracy of each class, if ``eval.metrics`` had ``per_class``."""
        return self.path.with_name(f"{self.path.stem}_classes.csv")

    def read_classes(self) -> list[ClassResult]:
        """Read the accuracy of each class; empty without that file.

        Raises:
            RunFolderError: The file was changed after the test.
        """
        return read_classes(self.classes, self.evaluation.test_classes_sha256)


def evaluations(folder: Path, record: RunRecord) -> list[Kept]:
    """Read the later tests of a run's selected weights, the oldest first.

    Files that are damaged, or of weights or settings that the run no longer has, are skipped. A published test
    counts where the folder has no newer one of its name.

    Args:
        folder: The run folder.
        record: The run's record.
    """
    published, own = (sorted((folder / place).glob("*.json")) for place in (PUBLISHED_TESTS, EVALUATIONS))
    found: dict[str, Kept] = {}
    for path in [*published, *own]:
        evaluation = _read(path)
        if evaluation is not None and _is_of(evaluation, record):
            found[path.name] = Kept(evaluation, path)
    return sorted(found.values(), key=lambda kept: (kept.evaluation.finished, kept.path.name))


def published_tests(folder: Path, record: RunRecord) -> list[PublishedTest]:
    """Read the published later tests of a published run, and check their numbers against their episodes.

    Args:
        folder: The published run.
        record: Its record.

    Returns:
        The tests, in the order of their tasks and files.

    Raises:
        RunFolderError: A test is damaged, was changed after it was written, or is of other weights.
    """
    return [test for test, _ in published_tests_with_episodes(folder, record)]


def published_tests_with_episodes(folder: Path, record: RunRecord) -> list[tuple[PublishedTest, list[float]]]:
    """Read the tests of :func:`published_tests`, each with the metric (n_episodes,) of its episodes.

    Args:
        folder: The published run.
        record: Its record.

    Raises:
        RunFolderError: A test is damaged, was changed after it was written, or is of other weights.
    """
    found = []
    for path in sorted((folder / PUBLISHED_TESTS).glob("*.json")):
        test = _read_published(path)
        if not _is_of(test, record):
            raise RunFolderError(f"{path} is a test of other weights than those of {folder}. Remove it.")
        found.append((test, tested_episodes(path.with_suffix(".csv"), test.test, test.episodes_sha256)[-1]))
    return sorted(found, key=lambda pair: (pair[0].task.n_way, pair[0].task.k_shot))


def format_published_test(test: PublishedTest) -> str:
    """Return the text of ``later_tests/<id>.json``, with a digest of all its keys."""
    fields = asdict(test)
    return json.dumps({**fields, DIGEST: sha256_of(fields)}, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def as_trained(folder: Path, record: RunRecord) -> Kept | None:
    """Return the first later test with the run's own settings; None if there is none.

    It stands for the test of a run that ended before one (``eval.test=false``). A test with edited code does not.

    Args:
        folder: The run folder.
        record: Its record.
    """
    own = (kept for kept in evaluations(folder, record) if not kept.evaluation.overrides)
    return next((kept for kept in own if not kept.evaluation.changed_code), None)


def _is_of(evaluation: Evaluation, record: RunRecord) -> bool:
    """Whether a test is one of a run's selected weights."""
    weights = (evaluation.run_config_hash, evaluation.selected_step)
    return weights == (record.config_hash, record.selected_step)


def _read(path: Path) -> Evaluation | None:
    """A later test, published or not; None where the file is damaged."""
    try:
        if path.parent.name == PUBLISHED_TESTS:
            return _read_published(path)
        content = json.loads(read_regular(path))
        if not isinstance(content, Mapping) or content.get("schema_version") != SCHEMA_VERSION:
            return None
        found: Evaluation = build(Evaluation, content)
    except (OSError, ValueError, RecursionError, RunFolderError, FaultError):
        return None
    return found


def _read_published(path: Path) -> PublishedTest:
    try:
        content = json.loads(read_regular(path))
        if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
            raise FaultError(f"it is not a test of version {SCHEMA_VERSION}.")
        digest = content.pop(DIGEST, None)
        found: PublishedTest = build(PublishedTest, content)
        if found.config.get("reference") is not None:
            build(Reference, found.config["reference"], "config.reference.")
    except (OSError, ValueError, RecursionError) as error:
        raise RunFolderError(f"{path} is damaged: {error} Restore it.") from error
    if digest != sha256_of(content):
        raise RunFolderError(f"{path} was changed after it was written: its {DIGEST} differs. Restore it.")
    return found
