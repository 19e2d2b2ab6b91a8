"""Examines a dataset of your own: what runs, comparisons and resumed runs rely on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from metaexp.core.errors import ConfigError
from metaexp.core.shapes import SPLITS, Capacity, Split, TaskShape
from metaexp.core.types import Episode
from metaexp.data.base import Dataset, MetaDataset, TaskSource
from metaexp.data.classification.class_ids import named_classes
from metaexp.data.classification.own_examples import load
from metaexp.doctor.finding import Finding, does_not_apply, format_error, ok, wrong
from metaexp.doctor.report import Part
from metaexp.doctor.subject import fix_noise, random_states

_EPISODES = 4
_BATCH = 8


@dataclass(frozen=True)
class DatasetSubject:
    """A dataset under examination.

    Attributes:
        make: Makes the description.
        folder: ``paths.data``.
        shape: The shape of its tasks.
        loaded: The dataset in memory.
        description: What was loaded.
    """

    make: Callable[[], Dataset]
    folder: Path
    shape: TaskShape
    loaded: MetaDataset
    description: Dataset

    def source(self, seed: int = 0) -> TaskSource:
        """Return its tasks under a seed."""
        return self.loaded.tasks(self.shape, seed)

    def episodes(self, split: Split, indices: list[int] | None = None, seed: int = 0) -> Episode:
        """Return episodes of a split; the first four by default.

        Args:
            split: ``train``, ``val`` or ``test``.
            indices: Numbers of the episodes.
            seed: The seed of the tasks.
        """
        return self.source(seed).episodes(split, torch.tensor(indices or list(range(_EPISODES))))


def shapes(subject: DatasetSubject) -> Finding:
    """Check shapes, dtypes and labels of episodes of every split."""
    for split in SPLITS:
        episode = subject.episodes(split)
        for name, part, n_examples in (
            ("support", episode.support, subject.shape.n_support),
            ("query", episode.query, subject.shape.n_queries),
        ):
            expected = (_EPISODES, n_examples, *subject.loaded.input_shape)
            if tuple(part.x.shape) != expected or part.x.dtype != torch.float32:
                found = f"{tuple(part.x.shape)} {part.x.dtype}"
                return wrong("shapes", f"x of the {name} of {split} is {found}, not {expected} torch.float32")
            problem = _label_problem(part.y, n_examples, subject)
            if problem:
                return wrong("shapes", f"y of the {name} of {split} {problem}")
            if not part.x.isfinite().all() or not part.y.isfinite().all():
                return wrong("shapes", f"the {name} of {split} has numbers that are not finite")
    return ok("shapes", f"examples are {subject.loaded.input_shape}, finite, and labels are as asked for")


def _label_problem(y: Tensor, n_examples: int, subject: DatasetSubject) -> str:
    """What is wrong with labels or targets of episodes; '' where nothing is."""
    n_way = subject.shape.n_way
    if n_way == 0:
        expected = (_EPISODES, n_examples, subject.loaded.target_size)
        right = tuple(y.shape) == expected and y.dtype == torch.float32
        return "" if right else f"is {tuple(y.shape)} {y.dtype}, not {expected} torch.float32"
    if tuple(y.shape) != (_EPISODES, n_examples) or y.dtype != torch.int64:
        return f"is {tuple(y.shape)} {y.dtype}, not {(_EPISODES, n_examples)} torch.int64"
    counts = torch.stack([(y == label).sum(1) for label in range(n_way)])
    if not (counts == n_examples // n_way).all():
        return f"does not have each label from 0 to {n_way - 1} equally often"
    return ""


def capacity(subject: DatasetSubject) -> Finding:
    """Check that what is said before loading is what was loaded."""
    loaded = subject.loaded.capacity()
    for name, said in (
        ("capacity()", subject.description.capacity()),
        ("capacity_in()", subject.description.capacity_in(subject.folder)),
    ):
        if said is not None and (loaded is None or dict(said) != dict(loaded)):
            return wrong("capacity", f"{name} says {_counts(said)}, and {_counts(loaded or {})} were loaded")
    if loaded is None:
        return does_not_apply("capacity", "tasks are endless")
    return ok("capacity", _counts(loaded))


def _counts(found: Mapping[Split, Capacity]) -> str:
    counts = [f"{split} {n_classes} x {per_class}" for split, (n_classes, per_class) in found.items()]
    return "; ".join(counts) or "nothing"


def same_again(subject: DatasetSubject) -> Finding:
    """Check that loading again gives the same data."""
    with fix_noise(7):
        other = subject.make().load(subject.folder, lambda _: None)
    if other.digest != subject.loaded.digest:
        return wrong(
            "same again", "loading it again gives another digest; draw from a generator with a seed of its own"
        )
    first, second = subject.episodes("train"), other.tasks(subject.shape, 0).episodes("train", torch.arange(_EPISODES))
    if not _same(first, second):
        return wrong("same again", "loading it again gives the same digest and other examples")
    return ok("same again", "loading it again gives the same examples and digest")


def splits(subject: DatasetSubject) -> Finding:
    """Check that no class is in two splits. A dataset may say that validation classes are trained on."""
    if subject.loaded.kind == "regression":
        return does_not_apply("splits", "regression has no classes")
    ids = {split: subject.loaded.class_ids(split) for split in SPLITS}
    said = named_classes(subject.description, subject.folder)
    for split, classes in ({} if said is None else said).items():
        if classes.keys() != ids[split].keys() or not all(known <= ids[split][name] for name, known in classes.items()):
            return wrong("splits", f"class_ids_in() says other classes of {split} than were loaded")
    pairs: list[tuple[Split, Split]] = [("train", "test"), ("val", "test")]
    if not subject.description.val_in_train:
        pairs.append(("train", "val"))
    for a, b in pairs:
        shared = [name for name, found in ids[b].items() if any(found & own for own in ids[a].values())]
        if shared:
            return wrong("splits", f"class {shared[0]} of {b} is in {a}, too")
    return ok("splits", "no class is in two splits")


def addressed(subject: DatasetSubject) -> Finding:
    """Check that an episode depends on its address alone."""
    for split in SPLITS:
        whole = subject.episodes(split)
        for position, index in enumerate(range(_EPISODES)):
            alone = subject.episodes(split, [index])
            if not _same(alone, whole, position):
                return wrong("addressed", f"episode {index} of {split} differs when it is made alone")
        if not _same(subject.episodes(split, [_EPISODES - 1, 0]), whole, 0, 1):
            return wrong("addressed", f"episode 0 of {split} depends on the order in which episodes are asked for")
    return ok("addressed", "an episode depends on seed, split and index alone")


def different(subject: DatasetSubject) -> Finding:
    """Check that other indices, splits and seeds give other episodes."""
    first = subject.episodes("train", [0])
    others = {
        "the index": subject.episodes("train", [1]),
        "the split": subject.episodes("val", [0]),
        "the seed": subject.episodes("train", [0], seed=1),
    }
    alike = [name for name, other in others.items() if _same(first, other)]
    if alike:
        return wrong("different", f"episodes do not depend on {' and '.join(alike)}")
    return ok("different", "other indices, splits and seeds give other episodes")


def queries_apart(subject: DatasetSubject) -> Finding:
    """Check that queries are not examples of the support set."""
    episode = subject.episodes("train", list(range(_BATCH)))
    support, query = episode.support.x.flatten(2), episode.query.x.flatten(2)
    repeated = (query.unsqueeze(2) == support.unsqueeze(1)).all(-1).any(-1)  # (T, M)
    if repeated.any(1).all():
        return wrong("queries apart", "every episode has queries that are in its support set")
    return ok("queries apart", "queries are not in the support set", repeated=int(repeated.sum()))


def no_randomness(subject: DatasetSubject) -> Finding:
    """Check that global generators are neither used nor changed."""
    with fix_noise(1):
        first = subject.episodes("train")
        before = random_states()
        subject.episodes("val")
        changed = [library for library, state in random_states().items() if state != before[library]]
    with fix_noise(2):
        second = subject.episodes("train")
    if changed:
        return wrong("no randomness", f"making episodes draws from the global generator of {', '.join(changed)}")
    if not _same(first, second):
        return wrong("no randomness", "episodes depend on global generators")
    return ok("no randomness", "global generators are neither used nor changed")


def bank(subject: DatasetSubject) -> Finding:
    """Check that the hash of an episode bank tells banks apart."""
    first = subject.source().bank_hash("test", _BATCH)
    if first != subject.source().bank_hash("test", _BATCH):
        return wrong("episode bank", "the same episodes have two hashes")
    others = [subject.source(1).bank_hash("test", _BATCH), subject.source().bank_hash("val", _BATCH)]
    if first in others:
        return wrong("episode bank", "other episodes have the same hash")
    return ok("episode bank", "the hash of an episode bank tells banks apart")


def batches(subject: DatasetSubject) -> Finding:
    """Check batches for supervised training."""
    if subject.loaded.kind == "regression":
        return does_not_apply("batches", "regression has no classes to train on")
    n_classes = subject.loaded.n_labels() or 0
    episode = subject.loaded.batches(_BATCH, 0).episodes("train", torch.arange(1))
    y = episode.support.y
    if tuple(y.shape) != (1, _BATCH) or not ((y >= 0) & (y < n_classes)).all():
        return wrong("batches", f"labels of a batch of {_BATCH} are {tuple(y.shape)} in {int(y.min())}..{int(y.max())}")
    return ok("batches", f"batches over all {n_classes} training classes")


CHECKS: Mapping[str, Callable[[DatasetSubject], Finding]] = {
    "capacity": capacity,
    "shapes": shapes,
    "same again": same_again,
    "splits": splits,
    "addressed": addressed,
    "different": different,
    "queries apart": queries_apart,
    "no randomness": no_randomness,
    "episode bank": bank,
    "batches": batches,
}
"""Name -> check, in the order of a report."""


def examine_dataset(
    make: Callable[[], Dataset], folder: Path, shape: TaskShape, watch: Callable[[str, str], None] = lambda *_: None
) -> list[Part]:
    """Load a dataset and make every check.

    Args:
        make: Makes its description.
        folder: ``paths.data``.
        shape: The shape of its tasks.
        watch: Called with a heading and the name of each check, before it is made.

    Raises:
        MetaexpError: What the dataset itself raises when it is loaded, such as a DataError for missing files.
    """
    heading = "regression" if shape.n_way == 0 else f"classification, {shape.n_way}-way {shape.k_shot}-shot"
    watch(heading, "loading")
    description = make()
    loaded = load(description, folder, lambda _: None)
    if loaded.kind != description.kind or (loaded.kind == "regression") != (shape.n_way == 0):
        raise ConfigError(f"the dataset says {description.kind}, it loads {loaded.kind}, and task.n_way={shape.n_way}.")
    if loaded.tasks(shape, 0).varies:
        raise ConfigError(
            "episodes of this dataset differ in ways or shots, and these checks compare episodes of one shape. Check "
            "it with dataset.least_ways=null dataset.varied_shots=false dataset.unequal_queries=false."
        )
    subject = DatasetSubject(make, folder, shape, loaded, description)
    findings = []
    for name, check in CHECKS.items():
        watch(heading, name)
        try:
            findings.append(check(subject))
        except Exception as error:
            findings.append(wrong(name, format_error(error)))
    return [Part(heading, findings)]


def _same(first: Episode, second: Episode, at: int | None = None, of_first: int = 0) -> bool:
    """Whether two batches of episodes are equal, or ``of_first`` of the first is ``at`` of the second."""
    pairs = zip((first.support, first.query), (second.support, second.query), strict=True)
    if at is None:
        return all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in pairs)
    return all(torch.equal(a.x[of_first], b.x[at]) and torch.equal(a.y[of_first], b.y[at]) for a, b in pairs)
