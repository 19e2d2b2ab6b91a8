"""``record.json``, the record of a run: its settings, its scores and its conditions. Without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from metaexp.core.disk.files import encode_text, read_regular, write_atomically
from metaexp.core.errors import RunFolderError
from metaexp.core.fit.task_fit import is_stand_in
from metaexp.core.nested import sha256_of
from metaexp.core.short_repr import ShortRepr
from metaexp.results.beginning import Git, InexactResume, InitialWeights, OwnCodeRecord, ParentRun
from metaexp.results.job_note import FROZEN_FILE as FROZEN_FILE
from metaexp.results.job_note import RECORD_FILE as RECORD_FILE
from metaexp.results.job_note import no_record
from metaexp.results.reading import ADDED, FaultError, build, check_lengths, check_mappings, check_not_negative

DIGEST = "digest"
"""The key of the digest of all other keys."""
SCHEMA_VERSION = 1
_SECTIONS = (
    "train", "task", "eval", "augment", "device", "paths", "tracker",
    "algorithm", "dataset", "model", "optimizer", "schedule", "clip",
)  # fmt: skip
"""Keys of a configuration whose values are mappings."""
_SIZES = ("steps", "full_steps", "seconds", "val.ci95", "val.n_episodes", "test.ci95", "test.n_episodes")
"""Keys of numbers that are never below 0."""

Status = Literal["running", "completed", "interrupted", "failed"]


@dataclass(frozen=True)
class Score:
    """A metric over a fixed bank of episodes.

    Attributes:
        metric: Its name.
        mean: Over the episodes; accuracies are fractions.
        ci95: Half the width of the 95 % interval. 0 for a single episode, which has no interval.
        n_episodes: How many episodes.
    """

    metric: str
    mean: float
    ci95: float
    n_episodes: int


@dataclass(frozen=True)
class Task:
    """The evaluation protocol.

    Attributes:
        n_way: Classes of a task; 0 for regression.
        k_shot: Support examples per class, or of a regression task.
        n_query: Queries per class, or of a regression task.
    """

    n_way: int
    k_shot: int
    n_query: int


@dataclass(frozen=True)
class Reference:
    """A published number.

    Attributes:
        paper: Where it was published.
        table: The table or page.
        metric: What it measures.
        value: The number; accuracies are fractions.
        ci95: The half-width of its interval, as printed there; null where none is.
        protocol: How it was measured, in words.
        steps: Training steps that it was published with, if the experiment has fewer.
    """

    paper: str
    table: str
    metric: str
    value: float
    ci95: float | None
    protocol: str
    steps: int | None = field(default=None, metadata=ADDED)


@dataclass(frozen=True)
class Verdict:
    """Whether the measured number reproduces the published one.

    :func:`metaexp.results.verdict.reproduction_verdict` decides it.

    Attributes:
        kind: The decision.
        difference: Measured minus published.
        text: The decision in words, for tables.
    """

    kind: Literal["reproduced", "within", "not_reproduced", "shortened", "changed", "undecided"]
    difference: float
    text: str


@dataclass(frozen=True)
class Machine:
    """The machine that computed the numbers. ``name`` is that of its processor or accelerator, never the host's."""

    accelerator: str
    name: str
    precision: str
    threads: int
    deterministic: bool
    task_chunk: int | None
    ranks: int = field(default=1, metadata=ADDED)
    """Processes that shared the run, each with ``threads`` threads or an accelerator of its own."""
    runs_together: int = field(default=1, metadata=ADDED)
    """Runs trained together, this one included: they share the time; numbers differ by rounding from a run alone."""
    processor: str | None = field(default=None, metadata=ADDED)
    """The model of the processor where that computed. Null on an accelerator, and in older records."""


@dataclass(frozen=True, repr=False)
class RunRecord(ShortRepr):
    """Everything that is recorded about a run. Fields that are not known yet are null."""

    status: Status
    name: str
    algorithm: str
    dataset: str
    model: str
    task: Task
    seed: int
    config: dict[str, Any]
    config_hash: str
    """SHA-256 of the part of ``config`` that decides numbers."""
    experiment: str | None = None
    overrides: list[str] = field(default_factory=list)
    """The overrides of the command line. With ``experiment`` they compose ``config`` again."""
    group: str | None = None
    """The sweep that the run belongs to."""
    steps: int = 0
    """Training steps done."""
    full_steps: int | None = None
    """Training steps of the experiment file, without overrides."""
    deviations: list[str] = field(default_factory=list)
    """Settings other than the number of steps and the seeds that differ from the experiment file's."""
    departs: str = field(default="", metadata=ADDED)
    """Where the experiment departs from its paper, as its header said it; empty in older records."""
    selected_step: int | None = None
    """The step whose weights were tested: the best on validation, or with ``eval.weights=last`` the last."""
    val: Score | None = None
    test: Score | None = None
    after_steps: list[Score] = field(default_factory=list)
    """The test metric after 0, 1, ... adaptation steps; empty for algorithms without steps."""
    metrics: list[Score] = field(default_factory=list, metadata=ADDED)
    """The further metrics on the test episodes that ``eval.metrics`` names; empty in older records."""
    domains: dict[str, Score] = field(default_factory=dict, metadata=ADDED)
    """The test result on each dataset of a mixture; empty for other data, and in older records."""
    parent: ParentRun | None = field(default=None, metadata=ADDED)
    """Null if the run began at step 0, and in older records."""
    initial_weights: InitialWeights | None = field(default=None, metadata=ADDED)
    """Null if the network began as it was initialised, and in older records."""
    batch_norm: str | None = None
    first_order: bool | None = None
    reference: Reference | None = None
    verdict: Verdict | None = None
    data_hash: str | None = None
    training_classes: list[str] = field(default_factory=list, metadata=ADDED)
    """Identifiers of the classes that it or its initial weights were trained on: digests of names and examples."""
    val_in_train: bool = field(default=False, metadata=ADDED)
    """Whether the dataset says that it trains on what it validates on; false in older records."""
    val_classes_trained: int = field(default=0, metadata=ADDED)
    """How many classes of validation are among them; 0 in older records."""
    episode_bank: str | None = None
    """Hash of the test episodes: equal hashes make two runs comparable pair by pair."""
    test_episodes_sha256: str | None = field(default=None, metadata=ADDED)
    """SHA-256 of ``test_episodes.csv``, hex; null if the run was not tested, and in older records."""
    test_classes_sha256: str | None = field(default=None, metadata=ADDED)
    """SHA-256 of ``test_classes.csv``, hex; null without ``eval.metrics=[per_class]``."""
    training_tasks: Literal["episodes", "supervised"] | None = field(default=None, metadata=ADDED)
    """What it was trained on: episodes, or batches of examples of all classes; null in older records."""
    n_parameters: int | None = None
    """Meta-parameters, all that the outer loop trains."""
    seconds: float | None = None
    """Wall-clock time of all sessions of the run together, evaluation included."""
    episodes_per_second: float | None = None
    """Training episodes over the time spent in training steps."""
    peak_memory_bytes: int | None = None
    device: Machine | None = None
    git: Git | None = None
    sources: str | None = field(default=None, metadata=ADDED)
    """SHA-256 (hex) of metaexp's own source files; null in older records."""
    own_code: OwnCodeRecord | None = field(default=None, metadata=ADDED)
    """Null where every class is metaexp's or torch's, and in older records."""
    versions: dict[str, str] = field(default_factory=dict)
    exact_resume: bool = True
    """False after a resume that could not be bit for bit (another machine, threads, ranks, code; or hidden state)."""
    inexact_resumes: list[InexactResume] = field(default_factory=list, metadata=ADDED)
    """These resumes; empty in older records."""
    error: str | None = None
    """The first line of the error that ended a failed run."""
    started: str | None = None
    """UTC, ISO 8601."""
    finished: str | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def tests_last(self) -> bool:
        """Whether the weights after the last step were tested, not those that were best on validation."""
        section = self.config.get("eval")
        return isinstance(section, Mapping) and section.get("weights") == "last"

    @property
    def is_stand_in(self) -> bool:
        """Whether made-up images took the place of the dataset's, or of one in a mixture."""
        return is_stand_in(self.config.get("dataset"))


def write_record(record: RunRecord, folder: Path) -> Path:
    """Write ``folder/record.json`` and return its path. A reader sees the old file or the new one, never half of one.

    Args:
        record: The record.
        folder: The run folder.

    Raises:
        ValueError: A number is not finite, which JSON cannot hold.
    """
    path = folder / RECORD_FILE
    write_atomically(path, encode_text(to_json(record)))
    return path


def to_json(record: RunRecord) -> str:
    """Return the text of ``record.json``: fields in the order of the class, their digest, a final newline."""
    fields = asdict(record)
    ordered = {"schema_version": fields.pop("schema_version"), **fields}
    ordered[DIGEST] = sha256_of(ordered)
    return json.dumps(ordered, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def read_record(folder: Path) -> RunRecord:
    """Read and check the record of a run.

    Args:
        folder: The run folder, or the file itself.

    Raises:
        RunFolderError: The record is missing, or is none of this version. The message names the file and the key.
    """
    path = folder / RECORD_FILE if folder.is_dir() or folder.name != RECORD_FILE else folder
    if path != folder and folder.is_file():
        raise no_record(folder)
    try:
        content = json.loads(read_regular(path, 1 << 24))
    except FileNotFoundError as error:
        raise no_record(folder) from error
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"{path} cannot be read as JSON: {error}. Restore it.") from error
    record = parse_record(content, path)
    if record.test_episodes_sha256 is not None and content.get(DIGEST) is None:  # records had digests before this key
        raise RunFolderError(f"{path} was changed after it was written: key {DIGEST} is missing. Restore it.")
    return record


def parse_record(content: Any, path: Path) -> RunRecord:
    """Make a record from parsed JSON.

    Args:
        content: The parsed JSON.
        path: Its file, for messages.

    Raises:
        RunFolderError: The text is not a record of this version.
    """
    if not isinstance(content, Mapping):
        raise RunFolderError(f"{path} holds {type(content).__name__}, not a record.")
    version = content.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        known = f"{SCHEMA_VERSION}.{' A newer metaexp wrote it: upgrade.' if newer else ''}"
        raise RunFolderError(f"{path}: schema_version is {version!r}; this version of metaexp reads {known}")
    fields = dict(content)
    digest = fields.pop(DIGEST, None)  # absent from older records
    try:
        check_lengths(fields, ("name", "algorithm", "dataset", "model", "experiment", "group"), 500)
        check_not_negative(fields, _SIZES)
        record: RunRecord = build(RunRecord, fields)
        check_mappings(record.config, _SECTIONS, "config.")
    except FaultError as fault:
        raise RunFolderError(f"{path}: {fault}") from fault
    if digest not in (None, now := sha256_of(fields)):
        raise RunFolderError(f"{path} was changed after it was written: key {DIGEST} is not {now[:12]}. Restore it.")
    return record
